import type { Connection } from '../connect.ts'
import type { RowDifference, TableDifference } from '../model/status.ts'
import { commonDigest, versionOf } from './compare-checksums.ts'
import { compareRange, type Cursor } from './compare-range.ts'
import { tableKey, type TableName } from './compared-table.ts'
import { digestsOf, type RowsOf } from './row-digests.ts'
import { ROWS_SHOWN } from './row-differences.ts'
import { readRowsOf } from './rows-of.ts'
import { describeRows } from './row-values.ts'
import { pinOutput } from './table-hash.ts'

/**
 * Adds to tables that differ the rows in which they do, as far as they are found within the time. Nobody may write on
 * either side meanwhile: what is found is not looked at again.
 *
 * @param ms for all of it, that is, until writes may go on
 * @throws whatever a query throws, also when the time is over
 */
export async function narrowDifferences(
  source: Connection,
  target: Connection,
  tables: TableName[],
  differences: TableDifference[],
  ms: number,
): Promise<void> {
  const end = performance.now() + ms
  for (const side of [source, target]) {
    await pinOutput(side)
    await side.query(`set statement_timeout = ${ms}`)
  }
  const digest = commonDigest([await versionOf(source), await versionOf(target)])
  const plans = await readRowsOf(source, target, digest)
  for (const difference of differences) {
    const table = tables.find(({ schema, name }) => `${schema}.${name}` === difference.table)
    const rows = table && plans.get(tableKey(table))
    if (!rows) continue
    const found = await differingRows(source, target, rows, () => performance.now() < end)
    if (found.length > 0) difference.rows = found
  }
}

async function differingRows(
  source: Connection,
  target: Connection,
  rows: RowsOf,
  goOn: () => boolean,
): Promise<RowDifference[]> {
  const found: RowDifference[] = []
  let cursor: Cursor | undefined = { pass: 'source' }
  while (cursor && found.length < ROWS_SHOWN && goOn()) {
    const { suspects, next } = await compareRange(source, target, rows, cursor)
    if (suspects.length > 0) {
      // A range may be read in part only: by their keys it is known which rows a side does not have.
      const [ours, theirs] = [await digestsOf(source, rows, suspects), await digestsOf(target, rows, suspects)]
      const differing = suspects.filter((row) => ours.get(row) !== theirs.get(row)).slice(0, ROWS_SHOWN - found.length)
      const sides = differing.map((row) => ({ id: row, onSource: ours.has(row), onTarget: theirs.has(row) }))
      found.push(...(await describeRows(source, target, rows, sides)))
    }
    cursor = next
  }
  return found
}
