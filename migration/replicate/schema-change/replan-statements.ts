import type { Connection } from '../../connect.ts'
import type { DatabaseContext } from '../../context.ts'
import { acquireLease, checkFence } from '../../control/lease.ts'
import type { TableName } from '../../load/tables.ts'
import { tableFilter } from '../../model/table-filter.ts'
import { isOfUser } from '../../schema/apply-post-data.ts'
import { referencedTable, splitConstraints } from '../../schema/constraint-statements.ts'
import { readConstraintTarget } from '../../schema/constraint-target.ts'
import { dumpTables } from '../../schema/dump-tables.ts'
import { skipLeftOut } from '../../schema/left-out.ts'
import { stageOf } from '../../schema/post-data-order.ts'
import { openSchemaSessions } from '../../schema/schema-session.ts'
import { readStatements, storeStatements, type PlannedStatement } from '../../schema/statements.ts'
import type { TableShape } from './table-shape.ts'

interface Changed extends TableName {
  shape: TableShape
}

/**
 * Reads anew what waits for the cutover (foreign keys, triggers, rules, policies) of tables whose columns have
 * changed: the statements name columns. Also the foreign keys of other tables that refer to them.
 */
export async function replanStatements(context: DatabaseContext): Promise<void> {
  await using target = await context.target('new plan')
  if ((await readChanged(target)).length === 0) return
  await using lease = await acquireLease(target, 'replicate')
  if (!lease) return
  await using sessions = await openSchemaSessions(context)
  const session = await sessions.open()
  const changed = await readChanged(session)
  const statements = await readStatements(session, 'post-data')
  const waiting = statements.filter(({ kind, state }) => state === 'pending' && stageOf(kind) !== 'load')
  const tables = new Map((await withAncestors(context, changed)).map((table) => [keyOf(table), table]))
  const names = new Set([...tables.values()].map(({ schema, name }) => `${schema}.${name}`))
  for (const statement of waiting) {
    const referenced = statement.kind === 'FK CONSTRAINT' ? referencedTable(statement) : undefined
    const table = tableOf(statement)
    if (table && referenced !== undefined && names.has(referenced)) tables.set(keyOf(table), table)
  }
  const dumped = tables.size === 0 ? [] : await dumpTables(context, 'post-data', [...tables.values()], lease.lost)
  const kept = skipLeftOut(dumped.filter(isOfUser), tableFilter(context.record.properties.pgflex))
  const parts = splitConstraints(kept, await readConstraintTarget(session))
  const obsolete = waiting.filter((statement) => {
    const table = tableOf(statement)
    return table !== undefined && tables.has(keyOf(table))
  })
  await session.query('begin')
  try {
    await session.query(`delete from pgflex.statement where section = 'post-data' and position = any ($1::int[])`, [
      obsolete.map(({ position }) => position),
    ])
    await storeStatements(
      session,
      'post-data',
      parts.filter(({ kind }) => stageOf(kind) !== 'load'),
      Math.max(0, ...statements.map(({ position }) => position)),
    )
    for (const { schema, name, shape } of changed) {
      const { replan: _, ...planned } = shape
      await session.query(
        'update pgflex.table_shape set shape = $3 where schema_name = $1 and table_name = $2 and shape::text = $4',
        [schema, name, JSON.stringify(planned), JSON.stringify(shape)],
      )
    }
    await checkFence(session, sessions.lease)
    await checkFence(session, lease)
    await session.query('commit')
  } catch (error) {
    await session.query('rollback').catch(() => {})
    throw error
  }
}

/** The tables that the source still has, and their parents: constraints and triggers of partitions are theirs. */
async function withAncestors(context: DatabaseContext, tables: TableName[]): Promise<TableName[]> {
  await using source = await context.source('new plan')
  const { rows } = await source.query<TableName>(
    `with recursive up (oid) as (
       select c.oid
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
        where (n.nspname, c.relname) in (select * from unnest($1::name[], $2::name[]))
        union
       select i.inhparent from up join pg_inherits i on i.inhrelid = up.oid)
     select n.nspname as schema, c.relname as name
       from up
       join pg_class c on c.oid = up.oid
       join pg_namespace n on n.oid = c.relnamespace`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  return rows
}

async function readChanged(target: Connection): Promise<Changed[]> {
  const { rows } = await target.query<TableName & { shape: string }>(
    `select schema_name as schema, table_name as name, shape from pgflex.table_shape where shape ->> 'replan' = 'true'`,
  )
  return rows.map(({ schema, name, shape }) => ({ schema, name, shape: JSON.parse(shape) as TableShape }))
}

function tableOf({ schemaName, tableName }: PlannedStatement): TableName | undefined {
  return schemaName === null || tableName === null ? undefined : { schema: schemaName, name: tableName }
}

const keyOf = ({ schema, name }: TableName): string => JSON.stringify([schema, name])
