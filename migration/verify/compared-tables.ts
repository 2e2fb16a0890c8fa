import type { Connection } from '../connect.ts'
import type { BackgroundComparison } from '../model/status.ts'
import { tableKey, type TableName } from './compared-table.ts'

/** What the control schema says of a table that was compared in the background, or is being compared. */
export interface ComparedTableState {
  /** Another one for each comparison of a table. */
  id: number
  state: 'running' | 'equal' | 'unequal'
  /** As it was on both sides when the comparison began. */
  definition: string | null
  /** It ended so long ago that it may be compared again. */
  isOld: boolean
  /** More has changed since than is marked. */
  whole: boolean
  /** What the keys of its marks are the values of; null as long as there are none. */
  keyColumns: string[] | null
  /** About how many rows or blocks are marked. */
  marks: number
}

/** Minutes after which a table is compared again of which more was changed than is marked: it costs both servers. */
const AGAIN_MINUTES = 10

/** All of them, by {@link tableKey}. */
export async function readComparedTables(target: Connection): Promise<Map<string, ComparedTableState>> {
  const { rows } = await target.query<
    Record<'schema' | 'name' | 'id' | 'state' | 'old' | 'whole' | 'marks', string> & {
      definition: string | null
      columns: string | null
    }
  >(
    `select c.schema_name as schema, c.table_name as name, c.id, c.state, c.definition,
            coalesce(c.ended_at < now() - make_interval(mins => ${AGAIN_MINUTES}), false) as old,
            m.whole, array_to_json(m.key_columns)::text as columns, coalesce(k.marks, 0) as marks
       from pgflex.compared_table c
       join pgflex.marked_table m using (id)
       left join (select table_id, sum(marks) as marks from pgflex.change_mark group by 1) as k on k.table_id = c.id`,
  )
  return new Map(
    rows.map(({ schema, name, id, state, definition, old, whole, columns, marks }) => [
      tableKey({ schema, name }),
      {
        id: Number(id),
        state: state as ComparedTableState['state'],
        definition,
        isOld: old === 't',
        whole: whole === 't',
        keyColumns: columns === null ? null : (JSON.parse(columns) as string[]),
        marks: Number(marks),
      },
    ]),
  )
}

/** In pgflex.step: when it was last looked for tables that have to be compared again, which reads both catalogs. */
const LOOK = 'look for tables to compare'

/** Whether there may be something to compare that is not, by what the control schema alone says. */
export async function isComparisonDue(target: Connection): Promise<boolean> {
  const { rows } = await target.query(
    `select from pgflex.table_copy t left join pgflex.compared_table c using (schema_name, table_name)
      where t.state = 'completed' and c.id is null
     union all
     select where not exists (
       select from pgflex.step where name = $1 and finished_at > now() - make_interval(mins => ${AGAIN_MINUTES}))
      limit 1`,
    [LOOK],
  )
  return rows.length > 0
}

export async function recordLook(target: Connection): Promise<void> {
  await target.query(
    'insert into pgflex.step (name) values ($1) on conflict (name) do update set finished_at = excluded.finished_at',
    [LOOK],
  )
}

/**
 * Forgets what is known of tables, and asks for marks of all their changes from now on.
 *
 * @returns their new ids, in the order of the tables
 */
export async function beginTables(
  target: Connection,
  tables: readonly (TableName & { bytes: number })[],
): Promise<number[]> {
  return await replaceTables(target, tables, 'running')
}

/** Tables that can only be compared whole. */
export async function leaveTables(target: Connection, tables: readonly TableName[]): Promise<void> {
  await replaceTables(
    target,
    tables.map((table) => ({ ...table, bytes: 0 })),
    'unequal',
  )
}

/** What is applied meanwhile may still be marked under the old ids: it is of no meaning any more. */
async function replaceTables(
  target: Connection,
  tables: readonly (TableName & { bytes: number })[],
  state: ComparedTableState['state'],
): Promise<number[]> {
  const names = [tables.map(({ schema }) => schema), tables.map(({ name }) => name)]
  await target.query('begin')
  try {
    await target.query(
      `with old as (delete from pgflex.compared_table
                     where (schema_name, table_name) in (select * from unnest($1::text[], $2::text[])) returning id)
       delete from pgflex.change_mark where table_id in (select id from old)`,
      names,
    )
    const { rows } = await target.query<{ id: string; schema: string; name: string }>(
      `insert into pgflex.compared_table (schema_name, table_name, bytes, state, ended_at)
       select t.schema_name, t.table_name, t.bytes, $4::text, case when $4::text <> 'running' then now() end
         from unnest($1::text[], $2::text[], $3::bigint[]) as t (schema_name, table_name, bytes)
       returning id, schema_name as schema, table_name as name`,
      [...names, tables.map(({ bytes }) => bytes), state],
    )
    const ids = new Map(rows.map((row) => [tableKey(row), Number(row.id)]))
    await target.query('insert into pgflex.marked_table (id) select unnest($1::int[])', [[...ids.values()]])
    await target.query('commit')
    return tables.map((table) => ids.get(tableKey(table))!)
  } catch (error) {
    await target.query('rollback').catch(() => {})
    throw error
  }
}

/** Since when changes of the table are marked; null as long as that is not said, undefined when it is not known. */
export async function markedFrom(target: Connection, ids: readonly number[]): Promise<Map<number, string | null>> {
  const { rows } = await target.query<{ id: string; lsn: string | null }>(
    'select id, marked_from as lsn from pgflex.compared_table where id = any ($1::int[])',
    [ids],
  )
  return new Map(rows.map(({ id, lsn }) => [Number(id), lsn]))
}

/** Records what the tables are, of those of which it is not. */
export async function recordDefinitions(
  target: Connection,
  tables: readonly { id: number; definition: string }[],
): Promise<void> {
  await target.query(
    `update pgflex.compared_table c
        set definition = t.definition
       from unnest($1::int[], $2::text[]) as t (id, definition)
      where c.id = t.id and c.definition is null`,
    [tables.map(({ id }) => id), tables.map(({ definition }) => definition)],
  )
}

export async function endTable(target: Connection, id: number, isEqual: boolean): Promise<void> {
  await target.query('update pgflex.compared_table set state = $2, ended_at = now() where id = $1', [
    id,
    isEqual ? 'equal' : 'unequal',
  ])
}

/** How much of the database is compared. */
export async function readProgress(target: Connection): Promise<Omit<BackgroundComparison, 'running'>> {
  const { rows } = await target.query<Record<'tables' | 'bytes' | 'compared' | 'done', string>>(
    `select count(*)                                                                             as tables,
            coalesce(sum(t.bytes_total), 0)                                                      as bytes,
            count(*) filter (where c.state = 'equal' and not m.whole)                            as compared,
            coalesce(sum(t.bytes_total) filter (where c.state = 'equal' and not m.whole), 0)     as done
       from pgflex.table_copy t
       left join pgflex.compared_table c using (schema_name, table_name)
       left join pgflex.marked_table m   using (id)
      where t.state = 'completed'`,
  )
  const { tables, bytes, compared, done } = rows[0]!
  return {
    tables: Number(tables),
    tablesCompared: Number(compared),
    bytes: Number(bytes),
    bytesCompared: Number(done),
  }
}
