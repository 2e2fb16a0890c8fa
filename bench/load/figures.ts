import { medianBusy } from '../limit.ts'
import { median } from '../median.ts'
import type { Busy, Use } from '../process-watch.ts'
import { LOADERS, type Load, type LoaderName } from './loader.ts'
import type { Shape, ShapeName } from './shape.ts'

export interface MeasuredLoad extends Load {
  /** From 0. */
  round: number
  sourceUse: Use | null
  targetUse: Use | null
  busy: Busy[]
  machine: number | null
  /** What its target has otherwise than the source. */
  differences: string[]
  about?: string
}

export interface NotRun {
  loader: LoaderName
  reason: string
}

/** The rounds of one loader on one shape; all figures are medians. */
export interface LoaderFigures {
  loader: LoaderName
  /** s of each round. */
  rounds: number[]
  seconds: number
  dataSeconds: number | null
  /** Wall time of pgflex by its own: median over the rounds. Below 1, pgflex is faster. */
  pgflexRatio: number | null
  /** The same for the data part alone. */
  pgflexDataRatio: number | null
  userSeconds: number | null
  systemSeconds: number | null
  peakRssBytes: number | null
  sourceCpuSeconds: number | null
  targetCpuSeconds: number | null
  busy: Busy[]
  machine: number | null
  differences: string[]
}

export interface ShapeFigures {
  shape: ShapeName
  about: string
  loaders: LoaderFigures[]
  notRun: NotRun[]
}

export function shapeFigures(shape: Shape, measured: readonly MeasuredLoad[], notRun: NotRun[]): ShapeFigures {
  return {
    shape: shape.name,
    about: shape.about,
    loaders: LOADERS.flatMap((loader) => loaderFigures(measured, loader) ?? []),
    notRun,
  }
}

function loaderFigures(measured: readonly MeasuredLoad[], loader: LoaderName): LoaderFigures | undefined {
  const loads = measured.filter((one) => one.loader === loader)
  if (loads.length === 0) return undefined
  const middle = (value: (load: MeasuredLoad) => number | null | undefined): number | null => {
    const known = loads.map(value).filter((one) => typeof one === 'number')
    return known.length === 0 ? null : median(known)
  }
  const pgflexOf = ({ round }: MeasuredLoad): MeasuredLoad | undefined =>
    measured.find((one) => one.loader === 'pgflex' && one.round === round)
  const ratio = (ours: number | null | undefined, theirs: number | null): number | null =>
    typeof ours === 'number' && theirs !== null ? ours / theirs : null
  return {
    loader,
    rounds: loads.map(({ seconds }) => seconds),
    seconds: median(loads.map(({ seconds }) => seconds)),
    dataSeconds: middle(({ dataSeconds }) => dataSeconds),
    pgflexRatio: middle((one) => ratio(pgflexOf(one)?.seconds, one.seconds)),
    pgflexDataRatio: middle((one) => ratio(pgflexOf(one)?.dataSeconds, one.dataSeconds)),
    userSeconds: middle(({ own }) => own?.userSeconds),
    systemSeconds: middle(({ own }) => own?.systemSeconds),
    peakRssBytes: middle(({ own }) => own?.peakRssBytes),
    sourceCpuSeconds: middle(({ sourceUse: use }) => use && use.userSeconds + use.systemSeconds),
    targetCpuSeconds: middle(({ targetUse: use }) => use && use.userSeconds + use.systemSeconds),
    busy: medianBusy(loads.map(({ busy }) => busy)),
    machine: middle(({ machine }) => machine),
    differences: loads.find(({ differences }) => differences.length > 0)?.differences ?? [],
  }
}
