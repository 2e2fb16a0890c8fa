import { medianBusy } from '../limit.ts'
import { median } from '../median.ts'
import type { Busy } from '../process-watch.ts'
import type { Shape } from './databases.ts'
import type { Verification } from './options.ts'
import type { Round } from './round.ts'

/** The rounds of one kind of cutover; all figures are medians but for the greatest. */
export interface CutoverFigures extends Shape {
  verify: Verification
  /** Transactions in a second that the source does at most, and that it did before the cutover. */
  capacity: number
  transactionsPerSecond: number
  /** s of each round. */
  rounds: number[]
  downtime: number
  greatestDowntime: number
  unwritable: number
  untilFreeze: number
  /** s of each step. */
  steps: Record<string, number>
  busy: Busy[]
  machine: number | null
}

export function cutoverFigures(
  shape: Shape,
  verify: Verification,
  capacity: number,
  rounds: readonly Round[],
): CutoverFigures {
  const middle = (value: (round: Round) => number): number => median(rounds.map(value))
  const machines = rounds.flatMap(({ machine }) => machine ?? [])
  return {
    ...shape,
    verify,
    capacity,
    transactionsPerSecond: middle((round) => round.transactionsPerSecond),
    rounds: rounds.map(({ downtime }) => downtime),
    downtime: middle(({ downtime }) => downtime),
    greatestDowntime: Math.max(...rounds.map(({ downtime }) => downtime)),
    unwritable: middle(({ unwritable }) => unwritable),
    untilFreeze: middle(({ untilFreeze }) => untilFreeze),
    steps: Object.fromEntries(
      Object.keys(rounds[0]!.steps).map((name) => [name, middle(({ steps }) => steps[name] ?? 0)]),
    ),
    busy: medianBusy(rounds.map(({ busy }) => busy)),
    machine: machines.length === 0 ? null : median(machines),
  }
}
