import { randomBytes } from 'node:crypto'
import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { MigrationError, sqlState } from '../errors.ts'
import { backendPid, endBackend } from './copy-session.ts'
import { waitingForTransactions } from './slot-wait.ts'

/** A snapshot that other sessions can read under until it is disposed of. */
export interface Snapshot extends AsyncDisposable {
  name: string
  /** P: the snapshot holds exactly the transactions whose commit lies before it. Undefined for Offline. */
  lsn?: string
}

/** configuration_limit_exceeded: "all replication slots are in use". */
const NO_FREE_SLOT = '53400'

/**
 * Makes a temporary logical slot and exports its snapshot. The walsender connection stays open, and nothing else may
 * run on it, for as long as the snapshot is used. Making a slot waits for the transactions that are running on the
 * source.
 * https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-CREATE-REPLICATION-SLOT
 *
 * @param signal gives up
 * @param admit looks at the server that is to be read; what it throws ends the attempt
 * @throws {MigrationError} NoFreeSlot (retryable)
 */
export async function exportSlotSnapshot(
  context: DatabaseContext,
  purpose: string,
  signal: AbortSignal,
  admit?: (walsender: Connection) => Promise<unknown>,
): Promise<Snapshot> {
  const walsender = await context.replication(`${purpose} snapshot`)
  let pid: string | undefined
  const giveUp = (): void => void walsender.end().catch(() => {})
  signal.addEventListener('abort', giveUp)
  try {
    signal.throwIfAborted()
    pid = await backendPid(walsender)
    await admit?.(walsender)
    const { rows: version } = await walsender.query<{ server_version_num: string }>('show server_version_num')
    // The words of replication commands are recognized in upper case only.
    const option = Number(version[0]!.server_version_num) >= 150_000 ? `(SNAPSHOT 'export')` : 'EXPORT_SNAPSHOT'
    // Unique for each attempt: the slot of an attempt before may still be on its way out.
    const slot = `pgflex_copy_${randomBytes(6).toString('hex')}`
    await using _notice = waitingForTransactions(context)
    const { rows } = await walsender.query<{ consistent_point: string; snapshot_name: string }>(
      `CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL pgoutput ${option}`,
    )
    const { consistent_point: lsn, snapshot_name: name } = rows[0]!
    return { name, lsn, [Symbol.asyncDispose]: () => walsender[Symbol.asyncDispose]() }
  } catch (error) {
    await walsender.end().catch(() => {})
    // A walsender that waits for a transaction does not notice that its client is gone, and would keep the slot.
    if (pid !== undefined) await endBackend(context, 'source', pid)
    if (sqlState(error) !== NO_FREE_SLOT) throw error
    throw new MigrationError('NoFreeSlot', 'All replication slots of the source are in use.', {
      hint:
        'Drop slots that nobody needs (select slot_name, plugin from pg_replication_slots where not active), or raise ' +
        'max_replication_slots. The load goes on as soon as a slot is free.',
      retryable: true,
      target: 'source',
      cause: error,
    })
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
}
