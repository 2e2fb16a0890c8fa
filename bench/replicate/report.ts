import { columns, whole } from '../../demo/progress.ts'
import { median } from '../median.ts'
import type { ServerFacts } from '../servers.ts'
import { APPLIERS, type ApplierName } from './applier.ts'
import type { Drain } from './drain.ts'
import type { Latencies } from './latency.ts'
import type { NativeCommit } from './native-applier.ts'
import type { Shape, ShapeName } from './shape.ts'

/** The rounds of one applier on one shape; all figures are medians. */
export interface ApplierFigures {
  applier: ApplierName
  /** Of each round. */
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
}

export interface ShapeFigures {
  shape: ShapeName
  about: string
  transactions: number
  changes: number
  appliers: ApplierFigures[]
}

export interface ReplicateResult {
  benchmark: 'replicate'
  /** Every applier has brought about exactly the contents of the source, each time. */
  ok: boolean
  servers: ServerFacts
  /** synchronous_commit of the native subscription. */
  nativeCommit: NativeCommit
  rounds: number
  shapes: ShapeFigures[]
  latency: Latencies | null
  notRun: { applier: string; reason: string }[]
}

/** @param rounds the drains of each round */
export function shapeFigures(shape: Shape, rounds: readonly Drain[][]): ShapeFigures {
  const of = (applier: ApplierName): Drain[] =>
    rounds.map((drains) => drains.find((drain) => drain.applier === applier)!)
  const native = of('native')
  return {
    shape: shape.name,
    about: shape.about,
    transactions: shape.transactions,
    changes: shape.changes,
    appliers: APPLIERS.map((applier) => {
      const drains = of(applier)
      const middle = (value: (drain: Drain) => number | null | undefined): number | null => {
        const known = drains.map(value).filter((one) => typeof one === 'number')
        return known.length === 0 ? null : median(known)
      }
      const seconds = median(drains.map((drain) => drain.seconds))
      return {
        applier,
        rounds: drains.map((drain) => drain.seconds),
        seconds,
        transactionsPerSecond: shape.transactions / seconds,
        changesPerSecond: shape.changes / seconds,
        ratioToNative: median(drains.map((drain, i) => native[i]!.seconds / drain.seconds)),
        sourceCpuSeconds: middle((drain) => drain.sourceCpuSeconds),
        targetCpuSeconds: middle((drain) => drain.targetCpuSeconds),
        userSeconds: middle(({ own }) => own?.userSeconds),
        systemSeconds: middle(({ own }) => own?.systemSeconds),
        peakRssBytes: middle(({ own }) => own?.peakRssBytes),
      }
    }),
  }
}

const HEAD = [
  'Shape',
  'Applier',
  'Time s',
  'Transactions/s',
  'Changes/s',
  'Speed : native',
  'CPU s user',
  'sys',
  'Peak MB',
  'Source CPU s',
  'Target CPU s',
]

/** Below it, a rate of transactions says nothing. */
const MANY_TRANSACTIONS = 100

export function reportLines({ servers, nativeCommit, rounds, shapes, latency, notRun }: ReplicateResult): string[] {
  const settings = Object.entries(servers.settings).map(([name, value]) => `${name}=${value}`)
  return [
    '',
    `PostgreSQL ${servers.source} to ${servers.target}, both on this machine. Medians of the rounds (${rounds}).`,
    `Settings of both servers: ${settings.join(', ')}.`,
    nativeCommit === 'off'
      ? 'The native subscription has its default settings: it does not wait for its commits (synchronous_commit=off), pgflex does.'
      : 'The native subscription waits for its commits (synchronous_commit=on) as pgflex does; its other settings are the default ones.',
    ...(shapes.length === 0
      ? []
      : [
          '',
          ...columns([HEAD, ...shapes.flatMap(shapeRows)], 2),
          '',
          ...shapes.map(({ shape, about }) => `  ${shape}: ${about}`),
        ]),
    ...(latency ? latencyLines(latency) : []),
    '',
    ...notRun.map(({ applier, reason }) => `${applier}: not run, ${reason}`),
    'Each target was compared with its source after every backlog: all equal.',
  ]
}

function shapeRows({ shape, transactions, appliers }: ShapeFigures): string[][] {
  return appliers.map((one) => [
    shape,
    one.applier,
    one.seconds.toFixed(2),
    transactions < MANY_TRANSACTIONS ? '-' : whole(one.transactionsPerSecond),
    whole(one.changesPerSecond),
    one.ratioToNative.toFixed(2),
    optional(one.userSeconds),
    optional(one.systemSeconds),
    one.peakRssBytes === null ? '-' : whole(one.peakRssBytes / 1024 ** 2),
    optional(one.sourceCpuSeconds),
    optional(one.targetCpuSeconds),
  ])
}

function latencyLines({ most, rate, appliers }: Latencies): string[] {
  return [
    '',
    `Latency while the source does ${whole(rate)} TPC-B transactions/s (80 % of the ${whole(most)}/s it does with nobody following):`,
    '',
    ...columns(
      [
        ['Applier', 'Transactions/s', 'Probes', 'Median ms', '99 % ms', 'Greatest ms'],
        ...appliers.map((one) => [
          one.applier,
          whole(one.transactionsPerSecond),
          whole(one.probes),
          whole(one.median),
          whole(one.percentile99),
          whole(one.greatest),
        ]),
      ],
      2,
    ),
  ]
}

function optional(seconds: number | null): string {
  return seconds === null ? '-' : seconds.toFixed(2)
}
