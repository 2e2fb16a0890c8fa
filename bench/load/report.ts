import { columns, whole } from '../../demo/progress.ts'
import { limitText } from '../limit.ts'
import type { ServerFacts } from '../servers.ts'
import type { LoaderFigures, ShapeFigures } from './figures.ts'

export interface LoadResult {
  benchmark: 'load'
  /** pgflex has brought about exactly the contents of the source, each time. */
  ok: boolean
  servers: ServerFacts
  rounds: number
  jobs: number
  /** Of the migration by pgflex. */
  mode: 'online' | 'offline'
  shapes: ShapeFigures[]
}

const HEAD = [
  'Shape',
  'Loader',
  'Rounds',
  'Time s',
  'Data s',
  'pgflex : it',
  'Data alone',
  'CPU s user',
  'sys',
  'Peak MB',
  'Source CPU s',
  'Target CPU s',
]

/** Stands at figures of a loader whose target is not what the source is. */
const MARK = '*'

export function reportLines({ servers, rounds, jobs, mode, shapes }: LoadResult): string[] {
  const settings = Object.entries(servers.settings).map(([name, value]) => `${name}=${value}`)
  return [
    '',
    `PostgreSQL ${servers.source} to ${servers.target}, both on this machine. Medians of the rounds (${rounds}); ${jobs} jobs; pgflex ${mode}.`,
    `Settings of both servers: ${settings.join(', ')}.`,
    'copy is the floor: the rows alone, into tables without indexes, by COPY from psql to psql.',
    '',
    ...columns([HEAD, ...shapes.flatMap(({ shape, loaders }) => loaders.map((one) => row(shape, one)))], 2),
    ...shapes.flatMap((shape) => [
      '',
      `  ${shape.shape}: ${shape.about}`,
      ...shape.loaders.map(({ loader, busy, machine }) => `    ${loader} is ${limitText(busy, machine)}`),
      ...notes(shape),
    ]),
    '',
    'Each target was compared with its source after every load: rows, and the numbers of valid indexes and constraints.',
  ]
}

function row(shape: string, one: LoaderFigures): string[] {
  return [
    shape,
    one.loader + (one.differences.length > 0 ? MARK : ''),
    whole(one.rounds.length),
    one.seconds.toFixed(2),
    optional(one.dataSeconds),
    optional(one.pgflexRatio),
    optional(one.pgflexDataRatio),
    optional(one.userSeconds),
    optional(one.systemSeconds),
    one.peakRssBytes === null || Number.isNaN(one.peakRssBytes) ? '-' : whole(one.peakRssBytes / 1024 ** 2),
    optional(one.sourceCpuSeconds),
    optional(one.targetCpuSeconds),
  ]
}

function notes({ loaders, notRun }: ShapeFigures): string[] {
  return [
    ...loaders
      .filter(({ differences }) => differences.length > 0)
      .map(
        ({ loader, differences }) =>
          `    ${MARK} ${loader} has not brought about what the source has: ${differences[0]}`,
      ),
    ...notRun.map(({ loader, reason }) => `    ${loader} has no figure of each round: ${reason}`),
  ]
}

function optional(value: number | null): string {
  return value === null ? '-' : value.toFixed(2)
}
