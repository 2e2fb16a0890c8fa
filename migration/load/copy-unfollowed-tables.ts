import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { checkFence, type Lease } from '../control/lease.ts'
import { sqlState } from '../errors.ts'
import { tableFilter } from '../model/table-filter.ts'
import { readPublished } from '../replicate/publication.ts'
import { sourceObjects } from '../replicate/slot-name.ts'
import { id } from '../sql.ts'
import { copyFormat, serverFacts } from './copy-format.ts'
import { openCopySessions, type CopySessions } from './copy-session.ts'
import { checkRows, pipeTable } from './copy-table.ts'
import { listTableNames, listTables, type SourceTable } from './tables.ts'

/** foreign_key_violation */
const FOREIGN_KEY_VIOLATION = '23503'

/**
 * Copies the tables again whose changes are not all followed, at a moment when nobody writes on the source:
 * unlogged tables, whose changes are in no WAL, and tables without a usable replica identity, which are published for
 * INSERT and TRUNCATE alone. All of them, always: no counter of the source says for sure that nothing was updated
 * or deleted (statistics are lost in a crash and can be reset).
 * https://www.postgresql.org/docs/current/monitoring-stats.html
 *
 * Everything happens in one transaction on the target, so that a second run does it all anew. It costs downtime in
 * proportion to the size of these tables.
 *
 * The tables may have constraints and triggers by now. User triggers are off meanwhile; a table that refers to
 * another one of them is copied after that one.
 *
 * @param lease of the caller; its fence is checked before the commit, and its successor ends the session that writes,
 *   which holds the locks of these tables
 */
export async function copyUnfollowedTables(
  context: DatabaseContext,
  lease?: Lease,
): Promise<{ tables: number; rows: number }> {
  const sessions = await openCopySessions(context, 'copy-unfollowed')
  let done = false
  try {
    const { reader, writer } = sessions
    await lease?.addSession(writer)
    const tables = await listUnfollowed(context, reader)
    let rows = 0
    if (tables.length > 0) {
      await reader.query('begin isolation level repeatable read read only')
      // The snapshot is taken before the statement runs: the LSN is not before any commit that it sees.
      const { rows: after } = await reader.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn')
      await writer.query('begin')
      const triggers = await disableTriggers(writer, tables)
      // All in one statement: foreign keys between them forbid to truncate one alone.
      await writer.query(`truncate only ${tables.map(({ schema, name }) => id(schema, name)).join(', only ')}`)
      rows = await copyInOrder(sessions, tables)
      // A table cannot be altered while checks of deferred constraints wait for the commit.
      await writer.query('set constraints all immediate')
      for (const { table, enable } of triggers) await writer.query(`alter table only ${table} ${enable}`)
      await movePoints(writer, tables, after[0]!.lsn)
      if (lease) await checkFence(writer, lease)
      await writer.query('commit')
      await reader.query('commit')
    }
    done = true
    return { tables: tables.length, rows }
  } finally {
    if (!done) await sessions.cut()
    await sessions[Symbol.asyncDispose]()
  }
}

/** What the publication of all changes does not list: whatever it is, it is not followed in whole. */
async function listUnfollowed(context: DatabaseContext, reader: Connection): Promise<SourceTable[]> {
  const { publication } = sourceObjects(context.key, context.database)
  const followed = await readPublished(reader, [publication])
  const names = (await listTableNames(reader, tableFilter(context.record.properties.pgflex))).filter(
    ({ oid }) => !followed.has(oid),
  )
  return names.length === 0 ? [] : await listTables(reader, () => true, names)
}

/**
 * Moves P(t): when the cutover is called off after this, an INSERT that the copy has brought would be applied a
 * second time. One that commits while the copy begins may be missing until the next copy: it is made anew then.
 */
async function movePoints(writer: Connection, tables: SourceTable[], lsn: string): Promise<void> {
  await writer.query(
    `update pgflex.table_copy set snapshot_lsn = $3
      where (schema_name, table_name) in (select * from unnest($1::text[], $2::text[])) and snapshot_lsn < $3`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name), lsn],
  )
}

/** Copies the tables whose foreign keys are satisfied, then those that waited for them, and so on. */
async function copyInOrder(sessions: CopySessions, tables: SourceTable[]): Promise<number> {
  const facts = [await serverFacts(sessions.reader), await serverFacts(sessions.writer)] as const
  const targetTables = new Map(
    (await listTables(sessions.writer, () => true, tables)).map((table) => [keyOf(table), table]),
  )
  let rows = 0
  for (let waiting = tables; waiting.length > 0;) {
    const refused: SourceTable[] = []
    for (const table of waiting) {
      const format = copyFormat(table, targetTables.get(keyOf(table)), ...facts)
      await sessions.writer.query('savepoint table_copy')
      try {
        const copied = await pipeTable(sessions, table, { format, freeze: false, onBytes() {} })
        rows += copied.rows
        // The source's count comes with its answer to the COPY, which an empty query waits for.
        await sessions.reader.query('')
        checkRows(table, copied)
        await sessions.writer.query('release table_copy')
      } catch (error) {
        const last = refused.length + 1 === waiting.length
        if (last || sqlState((error as Error).cause) !== FOREIGN_KEY_VIOLATION) throw error
        await sessions.writer.query('rollback to table_copy')
        refused.push(table)
      }
    }
    waiting = refused
  }
  return rows
}

const keyOf = ({ schema, name }: SourceTable): string => JSON.stringify([schema, name])

/**
 * Switches off the user triggers that would fire, and says how to switch them on as they were. The owner may
 * do this; session_replication_role would need more rights.
 */
async function disableTriggers(
  writer: Connection,
  tables: SourceTable[],
): Promise<{ table: string; enable: string }[]> {
  const { rows } = await writer.query<{ schema: string; name: string; trigger: string; mode: 'O' | 'A' }>(
    `select n.nspname as schema, c.relname as name, t.tgname as trigger, t.tgenabled as mode
       from pg_trigger t
       join pg_class c on c.oid = t.tgrelid
       join pg_namespace n on n.oid = c.relnamespace
      where not t.tgisinternal and t.tgenabled in ('O', 'A')
        and (n.nspname, c.relname) in (select * from unnest($1::name[], $2::name[]))`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  for (const { schema, name, trigger } of rows) {
    await writer.query(`alter table only ${id(schema, name)} disable trigger ${id(trigger)}`)
  }
  return rows.map(({ schema, name, trigger, mode }) => ({
    table: id(schema, name),
    enable: `enable ${mode === 'A' ? 'always ' : ''}trigger ${id(trigger)}`,
  }))
}
