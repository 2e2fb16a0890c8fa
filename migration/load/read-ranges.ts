import type { Connection } from '../connect.ts'
import { id } from '../sql.ts'
import { keyRanges, pageRanges, type RangeMethod, type TableRange } from './table-range.ts'
import type { SourceTable } from './tables.ts'

/**
 * Cuts a table into ranges, as it is on the source at this moment. Whatever happens to it meanwhile, each of its rows
 * is in exactly one of them: the outer ranges are open.
 */
export async function readRanges(
  source: Connection,
  table: Pick<SourceTable, 'oid' | 'schema' | 'name' | 'integerKey'>,
  method: RangeMethod,
  count: number,
): Promise<TableRange[]> {
  if (method === 'pages') {
    const { rows } = await source.query<{ pages: string }>(
      `select pg_relation_size($1::oid) / current_setting('block_size')::int as pages`,
      [table.oid],
    )
    return pageRanges(Number(rows[0]!.pages), count)
  }
  const key = id(table.integerKey!)
  const { rows: ends } = await source.query<{ min: string | null; max: string | null }>(
    `select min(${key}), max(${key}) from only ${id(table.schema, table.name)}`,
  )
  const { min, max } = ends[0]!
  if (min === null || max === null) return [{ lower: null, upper: null }]
  const { rows: statistics } = await source.query<{ bounds: string | null }>(
    `select histogram_bounds::text as bounds
       from pg_stats
      where schemaname = $1 and tablename = $2 and attname = $3 and not inherited`,
    [table.schema, table.name, table.integerKey],
  )
  // The text of an array of integers: {1,2,3}
  const histogram = statistics[0]?.bounds?.slice(1, -1).split(',') ?? []
  return keyRanges({ min, max, histogram }, count)
}
