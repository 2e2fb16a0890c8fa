import { columns, whole } from '../../demo/progress.ts'
import { limitText } from '../limit.ts'
import type { ServerFacts } from '../servers.ts'
import type { CutoverFigures } from './figures.ts'

export interface CutoverResult {
  benchmark: 'cutover'
  /** Every acknowledged transaction was on the target, and both sides were equal, each time. */
  ok: boolean
  servers: ServerFacts
  rounds: number
  cutovers: CutoverFigures[]
}

const HEAD = [
  'Databases',
  'Tables',
  'Verify',
  'Writes/s',
  'Of at most',
  'Downtime s',
  'Greatest s',
  'Unwritable s',
  'Until freeze s',
]

export function reportLines({ servers, rounds, cutovers }: CutoverResult): string[] {
  const settings = Object.entries(servers.settings).map(([name, value]) => `${name}=${value}`)
  return [
    '',
    `PostgreSQL ${servers.source} to ${servers.target}, both on this machine, through the local host. Medians of the rounds (${rounds}).`,
    `Settings of both servers: ${settings.join(', ')}.`,
    '',
    ...columns([HEAD, ...cutovers.map(row)], 3),
    '',
    'ms of each step:',
    '',
    ...columns(stepTable(cutovers), 3),
    '',
    ...cutovers.map((one) => `  ${title(one)} is ${limitText(one.busy, one.machine)}`),
    '',
    'Every transaction that the source had acknowledged was on the target, and all tables were equal, after each cutover.',
  ]
}

function row(one: CutoverFigures): string[] {
  return [
    whole(one.databases),
    whole(one.tables),
    one.verify,
    whole(one.transactionsPerSecond),
    whole(one.capacity),
    one.downtime.toFixed(2),
    one.greatestDowntime.toFixed(2),
    one.unwritable.toFixed(2),
    one.untilFreeze.toFixed(2),
  ]
}

function stepTable(cutovers: readonly CutoverFigures[]): string[][] {
  const names = [...new Set(cutovers.flatMap(({ steps }) => Object.keys(steps)))]
  return [
    ['Databases', 'Tables', 'Verify', ...names],
    ...cutovers.map(({ databases, tables, verify, steps }) => [
      whole(databases),
      whole(tables),
      verify,
      ...names.map((name) => (steps[name] === undefined ? '-' : whole(steps[name] * 1000))),
    ]),
  ]
}

function title({ databases, tables, verify }: CutoverFigures): string {
  return `${databases} × ${tables} by ${verify}`
}
