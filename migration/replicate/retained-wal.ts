import type { SlotState } from './replication-slot.ts'

export interface RetainedWal extends Pick<SlotState, 'walStatus' | 'retainedBytes' | 'safeWalBytes'> {
  slot: string
  /** max_slot_wal_keep_size; undefined for no limit. */
  limitBytes?: number
}

/** From good to bad. */
export const WAL_LEVELS = ['fine', 'extended', 'unlimited', 'scarce', 'unreserved'] as const
export type WalLevel = (typeof WAL_LEVELS)[number]

/** Bytes that a slot without limit may keep in silence: an hour of a source that writes 5 MB of WAL each second. */
export const LARGE_BYTES = 16 * 1024 ** 3
/** Share of max_slot_wal_keep_size that is left when it becomes urgent: the last of four parts. */
export const SCARCE_SHARE = 0.25

/** https://www.postgresql.org/docs/current/view-pg-replication-slots.html, wal_status */
export function walLevel({ walStatus, retainedBytes, safeWalBytes, limitBytes }: Omit<RetainedWal, 'slot'>): WalLevel {
  if (walStatus === 'unreserved' || walStatus === 'lost') return 'unreserved'
  if (limitBytes !== undefined && safeWalBytes !== undefined && safeWalBytes < limitBytes * SCARCE_SHARE) {
    return 'scarce'
  }
  if (limitBytes === undefined && retainedBytes > LARGE_BYTES) return 'unlimited'
  return walStatus === 'extended' ? 'extended' : 'fine'
}

const RAISE = `alter system set max_slot_wal_keep_size = '…GB'; select pg_reload_conf();`
const LOOK =
  'select slot_name, wal_status, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) from pg_replication_slots;'

/** The same words as long as the level is the same: numbers are in the status beside it. */
export function walWarning(level: WalLevel, slot: string): string | undefined {
  switch (level) {
    case 'fine':
      return undefined
    case 'extended':
      return `The slot ${slot} keeps more WAL on the source than max_wal_size: it goes when the target has caught up. See that the disk of the source has room: ${LOOK}`
    case 'unlimited':
      return `The slot ${slot} keeps more than ${LARGE_BYTES / 1024 ** 3} GB of WAL on the source, and max_slot_wal_keep_size sets no limit: a full disk would stop the source. Watch its disk: ${LOOK} If it becomes short, cancel this migration, or set a limit, which gives up the migration for the source: ${RAISE}`
    case 'scarce':
      return `The slot ${slot} is close to max_slot_wal_keep_size of the source: less than a quarter of it is left before the slot is lost and the data has to be copied anew. Raise it: ${RAISE}`
    case 'unreserved':
      return `The slot ${slot} is beyond max_slot_wal_keep_size of the source: at its next checkpoint the slot is lost, and the data has to be copied anew. Raise it now: ${RAISE}`
  }
}

/** s that a transaction of the source may be open in silence: longer than what is run by applications. */
export const OLD_TRANSACTION_SECONDS = 3600

/** A slot keeps the WAL since the begin of the oldest transaction that was open when the client was last in step. */
export function oldTransactionWarning(name: string, since: string): string {
  return `A transaction of the source is open since ${since} (${name}): until it ends, the source keeps all WAL since then for the slot, and a new slot cannot begin. End it if nobody needs it: select pg_terminate_backend(pid), or rollback prepared.`
}
