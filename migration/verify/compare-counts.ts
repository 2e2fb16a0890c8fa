import type { VerificationReport } from '../model/status.ts'
import { id } from '../sql.ts'
import type { TableName } from './compared-table.ts'
import { compareTables, type Side } from './compare-tables.ts'

/**
 * Compares the exact number of rows of every table, over `width` pairs of connections.
 *
 * @throws whatever a query throws: no permission, connection lost
 */
export function compareCounts(
  source: Side,
  target: Side,
  tables: TableName[],
  width?: number,
): Promise<VerificationReport> {
  return compareTables(
    {
      mode: 'Counts',
      columns: false,
      query: ({ schema, name }) => `select count(*)::text as rows, '' as content from only ${id(schema, name)}`,
    },
    source,
    target,
    tables,
    width,
  )
}
