import type { Connection } from '../../connect.ts'
import type { DatabaseContext } from '../../context.ts'
import { listTableNames, type TableName } from '../../load/tables.ts'
import { tableFilter } from '../../model/table-filter.ts'

/** Tables of the source that the target does not have. */
export interface NewTables {
  /** With rows of their own. */
  tables: (TableName & { oid: number; unlogged: boolean })[]
  /** Partitioned ones. */
  partitioned: TableName[]
}

/** Remembers in pgflex.step when a table could not be made. */
export function failedStep({ schema, name }: TableName): string {
  return `new table failed ${JSON.stringify([schema, name])}`
}

/**
 * Looks for tables that were made after the migration began, or that the user has dropped on the target to have them copied anew.
 *
 * @param retrySeconds tables that failed a shorter time ago are left out
 */
export async function findNewTables(
  context: DatabaseContext,
  source: Connection,
  target: Connection,
  retrySeconds: number,
): Promise<NewTables> {
  const filter = tableFilter(context.record.properties.pgflex)
  const { rows } = await source.query<TableName>(
    `select n.nspname as schema, c.relname as name
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'p' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgflex')
      order by 1, 2`,
  )
  const { rows: there } = await target.query<TableName>(
    `select n.nspname as schema, c.relname as name
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
      where n.nspname !~ '^pg_' and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c')`,
  )
  const known = new Set(there.map(keyOf))
  const { rows: failed } = await target.query<{ name: string }>(
    `select name from pgflex.step where name like 'new table failed %' and finished_at > now() - make_interval(secs => $1)`,
    [retrySeconds],
  )
  const tried = new Set(failed.map(({ name }) => name))
  const isNew = (table: TableName): boolean => !known.has(keyOf(table)) && !tried.has(failedStep(table))
  return {
    tables: (await listTableNames(source, filter))
      .filter(isNew)
      .map(({ schema, name, oid, unlogged }) => ({ schema, name, oid: Number(oid), unlogged })),
    partitioned: rows.filter(({ schema, name }) => filter(schema, name)).filter(isNew),
  }
}

const keyOf = ({ schema, name }: TableName): string => JSON.stringify([schema, name])
