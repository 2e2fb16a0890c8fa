import type { Connection } from '../connect.ts'
import { MigrationError } from '../errors.ts'
import { parseLsn, type Lsn } from '../lsn.ts'

/** How far a database is, as its target says. */
export interface Progress {
  startLsn: Lsn
  /** End of the last applied commit. */
  appliedLsn: Lsn
  inserts: number
  updates: number
  deletes: number
  truncates: number
  transactions: number
  missed: number
}

/** @throws {MigrationError} ProgressMissing */
export async function readProgress(target: Connection, slot: string): Promise<Progress> {
  const { rows } = await target.query<Record<string, string>>(
    `select start_lsn, applied_lsn, inserts, updates, deletes, truncates, transactions, missed
       from pgflex.progress where slot = $1`,
    [slot],
  )
  const row = rows[0]
  if (!row) {
    throw new MigrationError('ProgressMissing', `The target does not know where replication from ${slot} begins.`, {
      hint: 'Make the replication slot first; if this database was restored from a backup, start the migration again.',
      target: 'target',
    })
  }
  return {
    startLsn: parseLsn(row['start_lsn']!),
    appliedLsn: parseLsn(row['applied_lsn']!),
    inserts: Number(row['inserts']),
    updates: Number(row['updates']),
    deletes: Number(row['deletes']),
    truncates: Number(row['truncates']),
    transactions: Number(row['transactions']),
    missed: Number(row['missed']),
  }
}
