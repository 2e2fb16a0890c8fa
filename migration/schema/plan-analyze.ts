import type { Connection } from '../connect.ts'
import type { TableFilter } from '../model/table-filter.ts'
import { id } from '../sql.ts'
import { ANALYZE } from './post-data-order.ts'
import type { NewStatement } from './statements.ts'

/**
 * An ANALYZE for each migrated table, without which the first queries after the cutover are planned blindly. It is
 * a statement of post-data like the others, so that it is run once its table's indexes are there, and recorded.
 *
 * A partitioned table is analyzed as a whole, which includes its partitions; materialized views are filled at the
 * cutover, and have theirs after it. A table that the role may not analyze is passed over by the server with a warning.
 * https://www.postgresql.org/docs/current/sql-analyze.html
 */
export async function planAnalyze(target: Connection, filter: TableFilter): Promise<NewStatement[]> {
  const { rows } = await target.query<{ schema: string; name: string }>(
    `select n.nspname as schema, c.relname as name
       from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
        and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgflex')
      order by n.nspname, c.relname`,
  )
  return rows
    .filter(({ schema, name }) => filter(schema, name))
    .map(({ schema, name }) => ({
      kind: ANALYZE,
      schemaName: schema,
      objectName: name,
      tableName: name,
      sql: `ANALYZE ${id(schema, name)}`,
    }))
}

/**
 * The tables of which ANALYZE reads other tables too: partitions, and whatever else inherits from them.
 *
 * @returns by `schema.table` all that are below it, on any level
 */
export async function readDescendants(target: Connection): Promise<Map<string, string[]>> {
  const { rows } = await target.query<{ name: string; below: string }>(
    `with recursive below (top, oid) as (
       select inhparent, inhrelid from pg_catalog.pg_inherits
        union
       select b.top, i.inhrelid from below as b join pg_catalog.pg_inherits as i on i.inhparent = b.oid)
     select n.nspname || '.' || c.relname as name, json_agg(bn.nspname || '.' || bc.relname) as below
       from below
       join pg_catalog.pg_class     as c  on c.oid = below.top
       join pg_catalog.pg_namespace as n  on n.oid = c.relnamespace
       join pg_catalog.pg_class     as bc on bc.oid = below.oid
       join pg_catalog.pg_namespace as bn on bn.oid = bc.relnamespace
      where c.relkind in ('r', 'p')
      group by 1`,
  )
  return new Map(rows.map(({ name, below }) => [name, JSON.parse(below) as string[]]))
}
