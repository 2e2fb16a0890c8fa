import { columns, whole } from '../../demo/progress.ts'
import { limitText } from '../limit.ts'
import type { ServerFacts } from '../servers.ts'
import type { ApplierFigures, ShapeFigures } from './figures.ts'
import type { Latencies } from './latency.ts'
import type { NativeCommit } from './native-applier.ts'

export interface ReplicateResult {
  benchmark: 'replicate'
  /** pgflex and native have brought about exactly the contents of the source, each time. */
  ok: boolean
  servers: ServerFacts
  /** synchronous_commit of the native subscription. */
  nativeCommit: NativeCommit
  rounds: number
  shapes: ShapeFigures[]
  latency: Latencies | null
  /** Its version, or why it took no part. */
  pgcopydb: { version: string } | { reason: string }
}

const HEAD = [
  'Shape',
  'Applier',
  'Rounds',
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
/** Stands at figures of an applier whose target is not what the source is. */
const MARK = '*'

export function reportLines({ servers, nativeCommit, rounds, shapes, latency, pgcopydb }: ReplicateResult): string[] {
  const settings = Object.entries(servers.settings).map(([name, value]) => `${name}=${value}`)
  return [
    '',
    `PostgreSQL ${servers.source} to ${servers.target}, both on this machine. Medians of the rounds (${rounds}).`,
    `Settings of both servers: ${settings.join(', ')}.`,
    nativeCommit === 'off'
      ? 'The native subscription has its default settings: it does not wait for its commits (synchronous_commit=off), pgflex does.'
      : 'The native subscription waits for its commits (synchronous_commit=on) as pgflex does; its other settings are the default ones.',
    ...(shapes.length === 0 ? [] : shapesLines(shapes)),
    ...(latency ? latencyLines(latency) : []),
    '',
    'reason' in pgcopydb ? `pgcopydb: not run, ${pgcopydb.reason}` : `${pgcopydb.version} took part.`,
    'Each target of pgflex and native was compared with its source after every backlog: all equal.',
  ]
}

function shapesLines(shapes: readonly ShapeFigures[]): string[] {
  return [
    '',
    ...columns([HEAD, ...shapes.flatMap(shapeRows)], 2),
    ...shapes.flatMap((shape) => [
      '',
      `  ${shape.shape}: ${shape.about}`,
      ...shape.appliers.map(limitLine),
      ...notes(shape),
    ]),
  ]
}

function shapeRows({ shape, transactions, appliers }: ShapeFigures): string[][] {
  return appliers.map((one) => [
    shape,
    one.applier + (one.differences.length > 0 ? MARK : ''),
    whole(one.rounds.length),
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

function limitLine({ applier, busy, machine }: ApplierFigures): string {
  return `    ${applier} is ${limitText(busy, machine)}`
}

function notes({ appliers, pgcopydbNotRun }: ShapeFigures): string[] {
  return [
    ...appliers
      .filter(({ differences }) => differences.length > 0)
      .map(
        ({ applier, differences }) =>
          `    ${MARK} ${applier} has not brought about what the source has, so its figures are not those of the same ` +
          `work. ${differences.length} tables differ: ${differences[0]}`,
      ),
    ...(pgcopydbNotRun === null ? [] : [`    pgcopydb has no figure: ${pgcopydbNotRun}`]),
  ]
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
