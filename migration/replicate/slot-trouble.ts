import { MigrationError } from '../errors.ts'
import { formatLsn, type Lsn } from '../lsn.ts'
import type { SlotState } from './replication-slot.ts'

export interface SlotFacts {
  slot: string
  /** undefined: there is none of this name. */
  state: SlotState | undefined
  /** Nothing after it has been acknowledged to our slot; undefined when that is not known. */
  acknowledged?: Lsn
  /** The source is a standby, or has been one since the slot was made. */
  failedOver?: boolean
}

const ANEW = 'The data has to be copied anew: start the migration of this database again.'

/** https://www.postgresql.org/docs/current/view-pg-replication-slots.html, invalidation_reason */
const INVALIDATIONS: Record<string, { code: string; why: string; prevent: string }> = {
  wal_removed: {
    code: 'SlotWalRemoved',
    why: 'it kept more WAL than max_slot_wal_keep_size of the source allows, and the source removed WAL that was still needed',
    prevent:
      'Before that, raise the limit above the WAL that the load and the longest outage take (alter system set max_slot_wal_keep_size = -1; select pg_reload_conf();).',
  },
  rows_removed: {
    code: 'SlotRowsRemoved',
    why: 'the source, a standby, had to remove rows of its catalog that the slot still needed',
    prevent: 'Before that, set hot_standby_feedback = on there, and a physical slot for it on the primary.',
  },
  wal_level_insufficient: {
    code: 'SlotWalLevel',
    why: 'wal_level of the source, or of its primary, was no longer logical',
    prevent: 'Before that, set wal_level = logical again, and leave it until the migration has ended.',
  },
  idle_timeout: {
    code: 'SlotIdleTimeout',
    why: 'nobody read it for longer than idle_replication_slot_timeout of the source',
    prevent:
      'Before that, switch the limit off (alter system set idle_replication_slot_timeout = 0; select pg_reload_conf();): nobody reads the slot during the load.',
  },
}

/**
 * Why a slot can't be read any more for good; undefined when it can. A slot made anew under the same name has not the
 * changes between, so it is never taken for the one that was lost.
 *
 * @returns SlotWalRemoved, SlotRowsRemoved, SlotWalLevel, SlotIdleTimeout, SlotInvalidated: the source gave it up;
 *   SlotNotFailedOver, SlotLost: it is not there, or another one is
 */
export function slotTrouble({ slot, state, acknowledged, failedOver }: SlotFacts): MigrationError | undefined {
  const lost = (code: string, message: string, hint: string): MigrationError =>
    new MigrationError(code, `${message}; changes of the source are missing.`, {
      hint: `${ANEW} ${hint}`.trim(),
      target: 'source',
    })
  if (!state) {
    return failedOver === true
      ? lost(
          'SlotNotFailedOver',
          `The source was failed over, and the replication slot ${slot} did not come along`,
          'A slot survives a failover from PostgreSQL 17 on, when the standby has sync_replication_slots = on, hot_standby_feedback = on, primary_slot_name, and a dbname in primary_conninfo.',
        )
      : lost(
          'SlotLost',
          `The replication slot ${slot} is no longer there: somebody dropped it`,
          'Leave the slots pgflex_… alone until the migration has ended.',
        )
  }
  if (state.invalidationReason !== undefined || state.walStatus === 'lost') {
    // Before PostgreSQL 16 there is no other reason, and before 17 it is not told.
    const known = INVALIDATIONS[state.invalidationReason ?? 'wal_removed']
    return known
      ? lost(
          known.code,
          `The replication slot ${slot} was invalidated by the source: ${known.why} (wal_status ${state.walStatus})`,
          known.prevent,
        )
      : lost(
          'SlotInvalidated',
          `The replication slot ${slot} was invalidated by the source (${state.invalidationReason})`,
          '',
        )
  }
  if (acknowledged !== undefined && state.confirmedFlushLsn > acknowledged) {
    return lost(
      'SlotLost',
      `The replication slot ${slot} begins at ${formatLsn(state.confirmedFlushLsn)}, and the target has the changes up to ${formatLsn(acknowledged)} only: the slot was dropped and made anew, it was advanced by somebody, or the target was set back (restored, or failed over to a standby without the last commits)`,
      'Leave the slots pgflex_… alone until the migration has ended.',
    )
  }
  return undefined
}
