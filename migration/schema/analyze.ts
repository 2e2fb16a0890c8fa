import type { DatabaseContext } from '../context.ts'
import { errorText, isTransient } from '../errors.ts'
import { tableFilter } from '../model/table-filter.ts'
import { id } from '../sql.ts'
import { readIndexWidth } from './index-width.ts'

/**
 * Collects statistics of every migrated table and materialized view that the role may analyze, largest first,
 * several at a time; without them the first queries after the cutover are planned blindly.
 * Partitioned tables are analyzed as a whole: that includes their partitions.
 * https://www.postgresql.org/docs/current/sql-analyze.html
 *
 * @param changedOnly leaves out what has not changed since it was last analyzed
 */
export async function analyzeTables(
  context: DatabaseContext,
  { changedOnly = false } = {},
): Promise<{ tables: number; warnings: string[] }> {
  await using session = await context.target('analyze')
  const filter = tableFilter(context.record.properties.pgflex)
  const { rows } = await session.query<{ schema: string; name: string }>(
    `select n.nspname as schema, c.relname as name
       from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
      where c.relkind in ('r', 'm', 'p') and not c.relispartition and c.relpersistence <> 't'
        and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgflex')
        and pg_has_role(c.relowner, 'usage')
        and (not $1::bool
             or pg_stat_get_mod_since_analyze(c.oid) > 0
             or exists (select from pg_partition_tree(c.oid) as p where pg_stat_get_mod_since_analyze(p.relid) > 0))
      order by pg_total_relation_size(c.oid) desc, c.oid`,
    [changedOnly],
  )
  const queue = rows.filter(({ schema, name }) => filter(schema, name))
  const { jobs } = await readIndexWidth(context, session)
  const warnings: string[] = []
  let tables = 0
  const work = async (): Promise<void> => {
    await using worker = await context.target('analyze')
    for (let next = queue.shift(); next && !context.draining.aborted; next = queue.shift()) {
      try {
        await worker.query(`analyze ${id(next.schema, next.name)}`)
        tables++
      } catch (error) {
        if (isTransient(error)) throw error
        warnings.push(`Statistics of ${next.schema}.${next.name} could not be collected: ${errorText(error)}`)
      }
    }
  }
  const results = await Promise.allSettled(Array.from({ length: Math.min(jobs, queue.length) }, work))
  for (const result of results) if (result.status === 'rejected') throw result.reason
  return { tables, warnings }
}
