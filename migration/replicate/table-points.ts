import type { Connection } from '../connect.ts'
import { MigrationError } from '../errors.ts'
import type { TableName } from '../load/tables.ts'
import { parseLsn, type Lsn } from '../lsn.ts'

/** P(t) of each copied table: a change is applied if and only if its transaction commits at or after it. */
export interface TablePoints {
  get(schema: string, table: string): Lsn | undefined
  /** All that have one. */
  tables(): TableName[]
}

/**
 * Reads the points of all copied tables. A table whose copy has failed has none, and its changes are left out.
 *
 * @throws {MigrationError} TablesNotCopied: a copy that ends later would miss the changes that are passed over now
 */
export async function readTablePoints(target: Connection): Promise<TablePoints> {
  const { rows } = await target.query<{ schema: string; name: string; state: string; lsn: string | null }>(
    'select schema_name as schema, table_name as name, state, snapshot_lsn as lsn from pgflex.table_copy',
  )
  const waiting = rows.filter(({ state }) => state === 'queued' || state === 'loading')
  if (waiting.length > 0) {
    throw new MigrationError(
      'TablesNotCopied',
      `${waiting.length} tables are not copied yet, such as ${waiting[0]!.schema}.${waiting[0]!.name}.`,
      {
        hint: 'Replication begins when all tables are copied.',
        retryable: true,
      },
    )
  }
  const points = new Map<string, Lsn>()
  const tables: TableName[] = []
  for (const { schema, name, state, lsn } of rows) {
    if (state !== 'completed' || lsn === null) continue
    points.set(`${schema}\0${name}`, parseLsn(lsn))
    tables.push({ schema, name })
  }
  return { get: (schema, table) => points.get(`${schema}\0${table}`), tables: () => tables }
}
