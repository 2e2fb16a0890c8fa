import type { Connection } from '../../connect.ts'
import type { DatabaseContext } from '../../context.ts'
import { checkFence, type Lease } from '../../control/lease.ts'
import { MigrationError } from '../../errors.ts'
import type { TableName } from '../../load/tables.ts'
import { tableFilter } from '../../model/table-filter.ts'
import { isOfUser } from '../../schema/apply-post-data.ts'
import { splitConstraints } from '../../schema/constraint-statements.ts'
import { readConstraintTarget } from '../../schema/constraint-target.ts'
import { dumpTables } from '../../schema/dump-tables.ts'
import { loosenNewIdentityColumns } from '../../schema/identity-columns.ts'
import { skipLeftOut } from '../../schema/left-out.ts'
import { readTargetRoles } from '../../schema/roles.ts'
import { openSchemaSessions } from '../../schema/schema-session.ts'
import { storeStatements } from '../../schema/statements.ts'
import { id } from '../../sql.ts'
import { readSourceDefinitions } from '../schema-change/source-definition.ts'
import { storeShapes } from '../schema-change/table-shape.ts'
import type { NewTables } from './find-new-tables.ts'
import { skipInheritedIndexes } from './inherited-indexes.ts'
import { runNewStatement } from './run-new-statement.ts'

/** What has not been finished, in pgflex.step: the indexes of new tables. */
export const UNFINISHED = 'new tables'

/**
 * Makes new tables on the target and puts them on the list to be copied, all in one transaction: from then on no slice
 * begins until they are copied, so that nothing of them is passed over.
 *
 * @throws {MigrationError} NewTableFailed
 */
export async function makeTables(
  context: DatabaseContext,
  lease: Lease,
  source: Connection,
  { tables, partitioned }: NewTables,
): Promise<void> {
  const all = [...partitioned, ...tables]
  const oids = tables.map(({ oid }) => oid)
  const before = await readSourceDefinitions(source, oids)
  const preData = await dumpTables(context, 'pre-data', all)
  const postData = (await dumpTables(context, 'post-data', all)).filter(isOfUser)
  const after = await readSourceDefinitions(source, oids)
  if (JSON.stringify([...before]) !== JSON.stringify([...after]) || before.size < tables.length) {
    throw new MigrationError('NewTableFailed', 'They were altered while their definition was read.', {
      retryable: true,
    })
  }
  await using sessions = await openSchemaSessions(context)
  const session = await sessions.open()
  const roles = await readTargetRoles(session)
  await session.query('begin')
  try {
    for (const schema of new Set(all.map((table) => table.schema))) {
      await session.query(`create schema if not exists ${id(schema)}`)
    }
    for (const statement of preData) await runNewStatement(session, statement, roles)
    await forgetStatements(session, all)
    const kept = skipLeftOut(postData, tableFilter(context.record.properties.pgflex))
    const planned = await skipInheritedIndexes(source, session, all, kept)
    const { rows } = await session.query<{ last: string }>(
      `select coalesce(max(position), 0) as last from pgflex.statement where section = 'post-data'`,
    )
    const constraints = splitConstraints(planned, await readConstraintTarget(session))
    await storeStatements(session, 'post-data', constraints, Number(rows[0]!.last))
    await loosenNewIdentityColumns(session, all)
    // A foreign key of the whole table is one of each partition until the cutover is over: see partition-foreign-keys.ts.
    const partitions = await listPartitions(session, tables)
    await storeShapes(session, [...after.values()], (table) => partitions.has(id(table.schema, table.name)))
    await listForCopy(session, tables)
    await session.query(`insert into pgflex.step (name) values ($1) on conflict (name) do nothing`, [UNFINISHED])
    await checkFence(session, sessions.lease)
    await checkFence(session, lease)
    await session.query('commit')
  } catch (error) {
    await session.query('rollback').catch(() => {})
    throw error
  }
}

async function listPartitions(session: Connection, tables: readonly TableName[]): Promise<Set<string>> {
  const { rows } = await session.query<TableName>(
    `select n.nspname as schema, c.relname as name
       from pg_class     as c
       join pg_namespace as n on n.oid = c.relnamespace
      where c.relispartition and (n.nspname, c.relname) in (select * from unnest($1::name[], $2::name[]))`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  return new Set(rows.map(({ schema, name }) => id(schema, name)))
}

/** Of a table that is made for the second time, what was planned for the first one. */
async function forgetStatements(session: Connection, tables: readonly TableName[]): Promise<void> {
  await session.query(
    `delete from pgflex.statement
      where section = 'post-data' and (schema_name, table_name) in (select * from unnest($1::text[], $2::text[]))`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
}

/** In one batch: they share a snapshot, and so a point. */
async function listForCopy(session: Connection, tables: readonly TableName[]): Promise<void> {
  await session.query(
    `insert into pgflex.table_copy (schema_name, table_name, batch)
     select t.schema, t.name, (select coalesce(max(batch), 0) + 1 from pgflex.table_copy)
       from unnest($1::text[], $2::text[]) as t (schema, name)
         on conflict (schema_name, table_name) do update
        set batch = excluded.batch, state = 'queued', snapshot_lsn = null, rows_done = 0, bytes_done = 0,
            started_at = null, ended_at = null, message = null`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
}
