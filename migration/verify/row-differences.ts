import type { RowDifference, TableDifference } from '../model/status.ts'

/** Rows of a table that are shown. */
export const ROWS_SHOWN = 20

/** Adds rows that differ to those of their table. @returns true when so many are known that no more are shown */
export function addRowDifferences(differences: TableDifference[], table: string, found: RowDifference[]): boolean {
  if (found.length === 0) return false
  let entry = differences.find((one) => one.table === table)
  if (!entry) {
    entry = { table, source: '', target: '', rows: [] }
    differences.push(entry)
  }
  // A range that is compared again finds the same rows again.
  const known = new Set(entry.rows!.map((row) => JSON.stringify(row)))
  entry.rows!.push(...found.filter((row) => !known.has(JSON.stringify(row))))
  const full = entry.rows!.length >= ROWS_SHOWN
  const count = (kind: string): number => entry.rows!.filter((row) => row.found === kind).length
  const words = (own: string): string =>
    `${full ? 'at least ' : ''}${count(own)} rows that the other side does not have, ${count('Different')} that differ`
  entry.source = words('OnlySource')
  entry.target = words('OnlyTarget')
  return full
}
