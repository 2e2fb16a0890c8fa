import type { Connection } from '../../connect.ts'
import type { TableName } from '../../load/tables.ts'
import { id } from '../../sql.ts'
import { listIdentified } from '../publication.ts'
import type { SourceObjects } from '../slot-name.ts'

/** Adds tables to the publications: those whose rows can be identified to the one of all changes. */
export async function publishTables(
  source: Connection,
  names: SourceObjects,
  tables: readonly TableName[],
): Promise<void> {
  for (const table of await listIdentified(source, tables)) {
    await publish(source, table.identified ? names.publication : names.insertsPublication, table)
  }
}

async function publish(source: Connection, publication: string, { schema, name }: TableName): Promise<void> {
  const { rows } = await source.query(
    'select from pg_publication_tables where pubname = $1 and schemaname = $2 and tablename = $3',
    [publication, schema, name],
  )
  if (rows.length === 0) await source.query(`alter publication ${id(publication)} add table only ${id(schema, name)}`)
}

/**
 * Says once more, to nobody's harm, that the tables are published. Before the releases of May 2025, a transaction that
 * is open while a table is added can leave the walsender with the belief that it is not published, for ever; when
 * all of those have ended, this makes it look again.
 * https://www.postgresql.org/docs/release/17.5/
 */
export async function publishAgain(
  source: Connection,
  names: SourceObjects,
  tables: readonly TableName[],
): Promise<void> {
  const { rows } = await source.query<TableName & { publication: string }>(
    `select pubname as publication, schemaname as schema, tablename as name
       from pg_publication_tables
      where pubname = any ($1::name[]) and (schemaname, tablename) in (select * from unnest($2::name[], $3::name[]))`,
    [[names.publication, names.insertsPublication], tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  for (const { publication, schema, name } of rows) {
    const [of, table] = [id(publication), id(schema, name)]
    await source.query(
      `begin; alter publication ${of} drop table only ${table}; alter publication ${of} add table only ${table}; commit`,
    )
  }
}

/** ms between two looks at the transactions of the source. */
const POLL_MS = 50

/**
 * Waits until the transactions that are running now have ended. Making a slot waits for them, and nothing is followed
 * meanwhile: it is better not to begin.
 *
 * @param ms how long
 * @returns false when some of them are still running
 */
export async function transactionsEnded(source: Connection, ms: number): Promise<boolean> {
  const { rows: now } = await source.query<{ next: string }>(
    'select txid_snapshot_xmax(txid_current_snapshot()) as next',
  )
  const deadline = performance.now() + ms
  for (;;) {
    const { rows } = await source.query<{ oldest: string }>(
      'select txid_snapshot_xmin(txid_current_snapshot()) as oldest',
    )
    if (BigInt(rows[0]!.oldest) >= BigInt(now[0]!.next)) return true
    if (performance.now() > deadline) return false
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
