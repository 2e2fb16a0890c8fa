import type { CopyFormat } from './copy-format.ts'
import { columnList, beginRead, checkRows, relay, type PipedRows } from './copy-table.ts'
import type { CopySessions } from './copy-session.ts'
import { markRangeDone, type OpenRange } from './table-range-copy.ts'
import { rangeCondition } from './table-range.ts'
import { copiedColumns, type SourceTable } from './tables.ts'
import { id } from '../sql.ts'

/**
 * Copies one range of a table: the rows and the mark that it is done are one transaction on the target.
 *
 * The sessions are of no use after an error: cut them.
 *
 * @throws {MigrationError} TableCopyFailed, SnapshotLost, LeaseLost, RangeTaken, RowsMissing
 */
export async function copyRange(
  { reader, writer }: Pick<CopySessions, 'reader' | 'writer'>,
  table: SourceTable,
  range: OpenRange,
  { format, onBytes }: { format: CopyFormat; onBytes: (bytes: number) => number | void },
): Promise<PipedRows> {
  // An index must serve where a range of a key is read, and nothing may be read with the help of more processes.
  await Promise.all([beginRead(reader, range.snapshot), writer.query('begin')])
  await reader.query(
    `set local max_parallel_workers_per_gather = 0${range.method === 'key' ? '; set local enable_seqscan = off' : ''}`,
  )
  const columns = copiedColumns(table).map(({ name }) => id(name))
  const condition = rangeCondition(range.method, table.integerKey, range)
  const copied = await relay(
    { reader, writer },
    table,
    {
      read: `(select ${columns.join(', ')} from only ${id(table.schema, table.name)} where ${condition})`,
      write: `${id(table.schema, table.name)}${columnList(table)}`,
    },
    { format, freeze: false, onBytes },
  )
  checkRows(table, copied)
  await Promise.all([reader.query('commit'), markRangeDone(writer, range, copied)])
  await writer.query('commit')
  return copied
}
