import type { Connection } from '../connect.ts'
import { MigrationError } from '../errors.ts'
import type { Lsn } from '../lsn.ts'
import { readFollowedSource, recordHistory, type FollowedSource } from './followed-source.ts'
import { readSlot } from './replication-slot.ts'
import { slotTrouble } from './slot-trouble.ts'
import { continuation, readSourceHistory } from './source-history.ts'

/**
 * Whether the server at the other end of a walsender connection may be followed from where the target is, or copied
 * from. A history that goes on from the recorded one is recorded before anything of it is read.
 *
 * @returns what is recorded, with the place after which no slot of ours stands
 * @throws {MigrationError} as continuation() and slotTrouble(); ProgressMissing
 */
export async function admitSource(walsender: Connection, target: Connection, slot: string): Promise<FollowedSource> {
  const recorded = await readFollowedSource(target, slot)
  if (!recorded) {
    throw new MigrationError('ProgressMissing', `The target does not know which server ${slot} is of.`, {
      hint: 'Make the replication slot first; if this database was restored from a backup, start the migration again.',
      target: 'target',
    })
  }
  const { appliedLsn, newestLsn } = recorded
  const now = await readSourceHistory(walsender)
  const { rows } = await walsender.query<{ standby: string }>('select pg_is_in_recovery() as standby')
  const isStandby = rows[0]!.standby === 't'
  const next = continuation(recorded.history, now, newestLsn, isStandby)
  if (!next.goesOn) throw next.error

  const { partedAt } = next
  const counts = partedAt === undefined ? recorded.acknowledgedLsn : least(recorded.acknowledgedLsn, partedAt)
  const acknowledgedLsn = counts < appliedLsn ? appliedLsn : counts
  const state = await readSlot(walsender, slot)
  const trouble = slotTrouble({
    slot,
    state,
    acknowledged: acknowledgedLsn,
    failedOver: isStandby || partedAt !== undefined,
  })
  if (trouble) throw trouble
  const history = { systemIdentifier: now.systemIdentifier, timelines: now.timelines }
  if (partedAt !== undefined) await recordHistory(target, slot, { was: recorded.history, is: history, partedAt })
  return { ...recorded, history, acknowledgedLsn }
}

/** {@link admitSource} for the load: where no slot has been recorded, what is copied is not followed either. */
export async function admitCopy(walsender: Connection, target: Connection, slot: string): Promise<void> {
  if (await readFollowedSource(target, slot)) await admitSource(walsender, target, slot)
}

function least(a: Lsn, b: Lsn): Lsn {
  return a < b ? a : b
}
