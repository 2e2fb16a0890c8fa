import { medianBusy } from '../limit.ts'
import { median } from '../median.ts'
import type { Busy } from '../process-watch.ts'
import { APPLIERS, type ApplierName } from './applier.ts'
import type { Drain } from './drain.ts'
import type { Round } from './round.ts'
import type { Shape, ShapeName } from './shape.ts'

/** The rounds of one applier on one shape; all figures are medians. */
export interface ApplierFigures {
  applier: ApplierName
  /** s of each round. */
  rounds: number[]
  seconds: number
  transactionsPerSecond: number
  changesPerSecond: number
  /** How many times as fast as native: median over the rounds, each of which has the same backlog. */
  ratioToNative: number
  sourceCpuSeconds: number | null
  targetCpuSeconds: number | null
  userSeconds: number | null
  systemSeconds: number | null
  peakRssBytes: number | null
  /** Share of the time that each process was at work, busiest first. */
  busy: Busy[]
  /** The same for all processors of the machine, other programs included. */
  machine: number | null
  /** What its target had otherwise than the source in some round; nothing when they were equal. */
  differences: string[]
}

export interface ShapeFigures {
  shape: ShapeName
  about: string
  transactions: number
  changes: number
  appliers: ApplierFigures[]
  /** Why pgcopydb has no figure, or not one of each round; null when it has, or took no part at all. */
  pgcopydbNotRun: string | null
}

export function shapeFigures(shape: Shape, rounds: readonly Round[]): ShapeFigures {
  return {
    shape: shape.name,
    about: shape.about,
    transactions: shape.transactions,
    changes: shape.changes,
    appliers: APPLIERS.flatMap((applier) => applierFigures(shape, rounds, applier) ?? []),
    pgcopydbNotRun: rounds.find(({ pgcopydb }) => pgcopydb?.reason !== undefined)?.pgcopydb?.reason ?? null,
  }
}

/** @returns undefined when it has finished no round */
function applierFigures(shape: Shape, rounds: readonly Round[], applier: ApplierName): ApplierFigures | undefined {
  const pairs = rounds.flatMap(({ drains }) => {
    const drain = drains.find((one) => one.applier === applier)
    const native = drains.find((one) => one.applier === 'native')
    return drain && native ? [{ drain, native }] : []
  })
  if (pairs.length === 0) return undefined
  const middle = (value: (drain: Drain) => number | null | undefined): number | null => {
    const known = pairs.map(({ drain }) => value(drain)).filter((one) => typeof one === 'number')
    return known.length === 0 ? null : median(known)
  }
  const seconds = median(pairs.map(({ drain }) => drain.seconds))
  return {
    applier,
    rounds: pairs.map(({ drain }) => drain.seconds),
    seconds,
    transactionsPerSecond: shape.transactions / seconds,
    changesPerSecond: shape.changes / seconds,
    ratioToNative: median(pairs.map(({ drain, native }) => native.seconds / drain.seconds)),
    sourceCpuSeconds: middle((drain) => drain.sourceCpuSeconds),
    targetCpuSeconds: middle((drain) => drain.targetCpuSeconds),
    userSeconds: middle(({ own }) => own?.userSeconds),
    systemSeconds: middle(({ own }) => own?.systemSeconds),
    peakRssBytes: middle(({ own }) => own?.peakRssBytes),
    busy: medianBusy(pairs.map(({ drain }) => drain.busy)),
    machine: middle((drain) => drain.machine),
    differences:
      applier === 'pgcopydb'
        ? (rounds.find(({ pgcopydb }) => (pgcopydb?.differences.length ?? 0) > 0)?.pgcopydb?.differences ?? [])
        : [],
  }
}
