import type { DatabaseContext } from '../context.ts'
import type { Snapshot } from './slot-snapshot.ts'

/**
 * Opens the one snapshot that an Offline load is read under. It needs no replication slot, and works on a
 * standby too. https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
 */
export async function exportOfflineSnapshot(context: DatabaseContext): Promise<Snapshot> {
  const connection = await context.source('copy-offline snapshot')
  try {
    await connection.query('begin isolation level repeatable read read only')
    const { rows } = await connection.query<{ name: string }>('select pg_export_snapshot() as name')
    return { name: rows[0]!.name, [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose]() }
  } catch (error) {
    await connection.end().catch(() => {})
    throw error
  }
}
