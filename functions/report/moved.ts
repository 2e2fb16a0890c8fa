import type { DatabaseDetail } from '../../migration/model/migration-resource.ts'
import type { DatabaseReport, MigrationReport } from '../../migration/report.ts'
import { markup, type Html } from './html.ts'
import { bytes, duration, number, seconds, time } from './measure.ts'
import { tone } from './summary.ts'
import { section, table } from './table.ts'

/** Tables of one database in the page; the JSON has all of them. */
const MOST_TABLES = 1_000

/** What was moved: databases, large objects, tables. */
export function movedSection({ migration, databases, events }: MigrationReport): Html {
  const details = migration.properties.currentStatus.currentSubStateDetails.dbDetails
  const largeObjects = events.filter(({ event }) => event === 'LargeObjectsCopied')
  return section(
    'What was moved',
    table(
      [
        'Database',
        'State',
        'Phase',
        'Started',
        'Ended',
        'Tables',
        'Rows',
        'Bytes',
        'Changes applied',
        'Latency',
        'Message',
      ],
      Object.values(details).map(databaseRow),
      'No database has been begun.',
    ),
    ...(largeObjects.length === 0
      ? []
      : [
          markup`<h3>Large objects</h3>`,
          table(
            ['Database', 'When', 'What'],
            largeObjects.map(({ database, at, message }) => [database, time(at), message]),
            '',
          ),
        ]),
    ...databases.map(tablesOf),
  )
}

function databaseRow(detail: DatabaseDetail): (string | Html | undefined)[] {
  const { pgflex } = detail
  const all =
    detail.fullLoadQueuedTables +
    detail.fullLoadLoadingTables +
    detail.fullLoadCompletedTables +
    detail.fullLoadErroredTables
  return [
    detail.databaseName,
    markup`<span class="${tone(detail.migrationState)}">${detail.migrationState}</span>`,
    pgflex.phase,
    time(detail.startedOn),
    time(detail.endedOn),
    `${number(detail.fullLoadCompletedTables)} of ${number(all)}`,
    number(pgflex.progress.rowsDone),
    bytes(pgflex.progress.bytesDone),
    `${number(detail.appliedChanges)} (${number(detail.cdcInsertCounter)} inserts, ${number(detail.cdcUpdateCounter)} updates, ${number(detail.cdcDeleteCounter)} deletes)`,
    pgflex.latencySeconds === undefined ? undefined : seconds(pgflex.latencySeconds),
    detail.message,
  ]
}

function tablesOf({ database, tables, problem }: DatabaseReport): Html {
  // The largest are those that are looked for; of what failed none is left out.
  const wanted = tables.toSorted(
    (a, b) => Number(b.state === 'errored') - Number(a.state === 'errored') || b.bytesDone - a.bytesDone,
  )
  const shown = wanted.slice(0, MOST_TABLES)
  const rest = wanted.length - shown.length
  return markup`<details${tables.length <= 100 ? markup` open` : ''}><summary>Tables of ${database} (${number(tables.length)})</summary>
${problem === undefined ? '' : markup`<p class="bad">${problem}</p>`}
${table(
  ['Table', 'State', 'Rows', 'Bytes', 'Started', 'Took', 'Message'],
  shown.map((one) => [
    `${one.schema}.${one.table}`,
    markup`<span class="${tone(one.state)}">${one.state}</span>`,
    one.state === 'completed' ? number(one.rowsDone) : `${number(one.rowsDone)} of about ${number(one.rowsTotal)}`,
    bytes(one.bytesDone),
    time(one.startedAt),
    duration(one.startedAt, one.endedAt),
    one.message,
  ]),
  'No tables are known.',
)}
${rest > 0 ? markup`<p>${number(rest)} smaller ones are left out here, and are in the report as JSON.</p>` : ''}</details>
`
}
