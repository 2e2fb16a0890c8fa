import type { Connection } from '../../connect.ts'
import type { DatabaseContext } from '../../context.ts'
import { checkFence } from '../../control/lease.ts'
import { dumpTables } from '../../schema/dump-tables.ts'
import { findSequences, type OwnedSequence } from '../../schema/owned-sequences.ts'
import { readTargetRoles } from '../../schema/roles.ts'
import { openSchemaSessions } from '../../schema/schema-session.ts'
import { id } from '../../sql.ts'
import { runNewStatement } from './run-new-statement.ts'

/**
 * Makes sequences on the target that were made on the source after the migration began; their values are set by the
 * cutover, as those of all others. Sequences of new tables come with the table, those of identity columns with the
 * column. Can be run again, and costs two queries when there is nothing to do.
 *
 * @returns how many were made
 * @throws {MigrationError} NewTableFailed, SchemaDumpFailed, Busy
 */
export async function carryNewSequences(
  context: DatabaseContext,
  source: Connection,
  target: Connection,
): Promise<number> {
  if ((await findNewSequences(context, source, target)).length === 0) return 0
  await using sessions = await openSchemaSessions(context)
  const session = await sessions.open()
  // Another copy may have made them while this one waited for its turn.
  const sequences = await findNewSequences(context, source, session)
  if (sequences.length === 0) return 0
  const statements = await dumpTables(context, 'pre-data', sequences, sessions.lease.lost)
  const roles = await readTargetRoles(session)
  await session.query('begin')
  try {
    for (const schema of new Set(sequences.map((sequence) => sequence.schema))) {
      await session.query(`create schema if not exists ${id(schema)}`)
    }
    for (const statement of statements) await runNewStatement(session, statement, roles)
    // pg_dump says this with the table only.
    for (const { schema, name, tableSchema, table, column } of sequences) {
      if (tableSchema === null || table === null || column === null) continue
      const sql = `alter sequence ${id(schema, name)} owned by ${id(tableSchema, table, column)}`
      const statement = { kind: 'SEQUENCE OWNED BY', schemaName: schema, objectName: name, tableName: table, sql }
      await runNewStatement(session, statement, roles)
    }
    await checkFence(session, sessions.lease)
    await session.query('commit')
  } catch (error) {
    await session.query('rollback').catch(() => {})
    throw error
  }
  await context.event({
    level: 'info',
    event: 'SequencesCarried',
    message: `Made on the source after the migration began, and on the target now: ${sequences.map(({ schema, name }) => `sequence ${schema}.${name}`).join(', ')}.`,
  })
  return sequences.length
}

async function findNewSequences(
  context: DatabaseContext,
  source: Connection,
  target: Connection,
): Promise<OwnedSequence[]> {
  const { missing } = await findSequences(context, source, target)
  const found: OwnedSequence[] = []
  for (const sequence of missing) {
    if (!sequence.identity && (await isOwnerThere(target, sequence))) found.push(sequence)
  }
  return found
}

/** True for a sequence that stands alone, or whose column the target has already. */
async function isOwnerThere(target: Connection, { tableSchema, table, column }: OwnedSequence): Promise<boolean> {
  if (tableSchema === null || table === null) return true
  const { rows } = await target.query(
    `select
       from pg_attribute as a
       join pg_class     as c on c.oid = a.attrelid
       join pg_namespace as n on n.oid = c.relnamespace
      where n.nspname = $1 and c.relname = $2 and a.attname = $3 and not a.attisdropped`,
    [tableSchema, table, column],
  )
  return rows.length > 0
}
