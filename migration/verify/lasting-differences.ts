import type { Connection } from '../connect.ts'
import type { RowDifference } from '../model/status.ts'
import { ROWS_SHOWN } from './row-differences.ts'
import type { RowsOf } from './row-digests.ts'
import { describeRows } from './row-values.ts'
import type { Suspect } from './suspects.ts'

/**
 * What differs in rows whose difference lasts, of some of them. A row that has become equal meanwhile is none of them,
 * and hides none of the others.
 *
 * @param shown what the target showed of them
 * @returns nothing only when all of them have become equal
 */
export async function describeLasting(
  source: Connection,
  target: Connection,
  rows: RowsOf,
  lasting: readonly Suspect[],
  shown: ReadonlyMap<string, string>,
): Promise<RowDifference[]> {
  const keyed = rows.identity.columns.length > 0
  for (let start = 0; start < lasting.length; start += ROWS_SHOWN) {
    const differing = lasting
      .slice(start, start + ROWS_SHOWN)
      .map((row) => ({ id: row.id, onSource: row.source !== null, onTarget: shown.has(row.id) }))
    const described = await describeRows(source, target, rows, differing)
    const found = described.filter((row) => row.found !== 'Different' || row.columns.length > 0 || !keyed)
    if (found.length > 0) return found
  }
  return []
}
