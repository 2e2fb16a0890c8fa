import type { DatabaseContext } from '../context.ts'
import type { TableName } from '../load/tables.ts'
import { id } from '../sql.ts'
import { dumpSchema, type DumpSection } from './dump.ts'
import { splitDump, type SchemaStatement } from './split.ts'

/** ms that pg_dump waits for a table that somebody is altering: nothing is followed meanwhile, and it is tried again. */
const LOCK_WAIT_MS = 5_000

/**
 * The statements that make some tables of the source, while changes are being followed.
 *
 * @throws {MigrationError} SchemaDumpFailed
 */
export async function dumpTables(
  context: DatabaseContext,
  section: DumpSection,
  tables: readonly TableName[],
  signal?: AbortSignal,
): Promise<SchemaStatement[]> {
  const patterns = tables.map(({ schema, name }) => `--table=${id(schema, name)}`)
  const args = [...patterns, `--lock-wait-timeout=${LOCK_WAIT_MS}`]
  return await splitDump(await dumpSchema(context, section, { args, ...(signal ? { signal } : {}) }))
}
