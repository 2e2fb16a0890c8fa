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
  if (machine === null) return 'limited by something that this system does not tell'
  const [first, ...rest] = busy
  const all = [
    ...(first ? [] : ['no process was busy for a tenth of the time']),
    ...(first && first.share >= LIMITING ? rest : busy).map(({ process, share }) => `${process} ${percent(share)}`),
    `all ${availableParallelism()} processors, other programs included, ${percent(machine)}`,
  ].join(', ')
  if (first && first.share >= LIMITING) return `limited by: ${first.process} ${percent(first.share)} busy (${all})`
  if (machine >= MACHINE_FULL) return `limited by: the processors of this machine (${all})`
  return `limited by: waiting, for each other or for the disk (${all})`
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
