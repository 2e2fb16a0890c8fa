import type { DatabaseDetail } from '../../migration/model/migration-resource.ts'
import { duration, number, seconds } from './measure.ts'
import type { Html } from './html.ts'
import { section, table } from './table.ts'

/** The ways back to the old source, and the steps of a switch back; nothing where there are none. */
export function wayBackSection(databases: DatabaseDetail[]): Html | undefined {
  const ways = databases.flatMap(({ databaseName, pgflex: { fallback } }) =>
    fallback === undefined ? [] : [{ databaseName, fallback }],
  )
  if (ways.length === 0) return undefined
  const steps = ways.flatMap(({ databaseName, fallback }) =>
    (fallback.switchBack?.steps ?? []).map((step) => ({ databaseName, ...step })),
  )
  return section(
    'Way back',
    table(
      ['Database', 'State', 'Changes', 'Latency', 'Downtime of the switch back', 'Message'],
      ways.map(({ databaseName, fallback }) => [
        databaseName,
        fallback.state,
        number(fallback.appliedChanges),
        fallback.latencySeconds === undefined ? '' : seconds(fallback.latencySeconds),
        fallback.switchBack?.downtimeSeconds === undefined ? '' : seconds(fallback.switchBack.downtimeSeconds),
        fallback.message,
      ]),
      '',
    ),
    steps.length === 0
      ? undefined
      : table(
          ['Database', 'Step', 'Started (UTC)', 'Took'],
          steps.map((step) => [
            step.databaseName,
            step.name,
            step.startedAt.slice(0, 23).replace('T', ' '),
            duration(step.startedAt, step.endedAt),
          ]),
          '',
        ),
  )
}
