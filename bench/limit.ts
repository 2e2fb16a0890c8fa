import { availableParallelism } from 'node:os'
import { median } from './median.ts'
import type { Busy } from './process-watch.ts'

/** A process that is at work so much of the time can hardly be made faster by the others. */
const LIMITING = 0.75
/** Of all processors: a process that waits then waits for one of them as likely as for another process. */
const MACHINE_FULL = 0.9
/** Below it, a process is not worth a word. */
const NOTABLE = 0.1

/** The medians over some rounds. */
export function medianBusy(rounds: readonly (readonly Busy[])[]): Busy[] {
  const names = new Set(rounds.flatMap((round) => round.map(({ process }) => process)))
  return [...names]
    .map((process) => ({
      process,
      share: median(rounds.map((round) => round.find((one) => one.process === process)?.share ?? 0)),
    }))
    .filter(({ share }) => share >= NOTABLE)
    .toSorted((a, b) => b.share - a.share)
}

/** Says in words what a measurement was limited by. @param machine share of all processors that were at work */
export function limitText(busy: readonly Busy[], machine: number | null): string {
  const [first, ...rest] = busy
  if (!first) return 'what limits it is not known: this system does not tell how busy a process is'
  const others = rest.map(({ process, share }) => `${process} ${percent(share)}`)
  const full =
    machine === null ? '' : `; all ${availableParallelism()} processors, others' work included, ${percent(machine)}`
  const listed = `${others.length > 0 ? ` (${others.join(', ')})` : ''}${full}`
  if (first.share >= LIMITING) return `limited by: ${first.process} ${percent(first.share)} busy${listed}`
  const all = `${first.process} ${percent(first.share)}${listed}`
  if (machine !== null && machine >= MACHINE_FULL) return `limited by: the processors of this machine; ${all}`
  return `limited by: waiting, for each other or for the disk; ${all}`
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
