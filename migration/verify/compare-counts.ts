import type { VerificationReport } from '../model/status.ts'
import { id } from '../sql.ts'
import type { TableName } from './compared-table.ts'
import { compareTables, type Side } from './compare-tables.ts'

/**
 * Compares the exact number of rows of every table, over `width` connections to each side.
 *
 * @throws whatever a query throws: no permission, connection lost
 */
export function compareCounts(
  source: Side,
  target: Side,
  tables: TableName[],
  width?: number,
  partBytes?: number,
): Promise<VerificationReport> {
  return compareTables(
    {
      mode: 'Counts',
      columns: false,
      query: ({ schema, name }, _, condition) =>
        `select count(*)::text as rows, '0' as high, '0' as low from only ${id(schema, name)} where ${condition}`,
    },
    source,
    target,
    tables,
    width,
    partBytes,
  )
}
