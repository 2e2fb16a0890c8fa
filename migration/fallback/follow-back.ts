import type { DatabaseContext } from '../context.ts'
import { followForASlice } from '../replicate/follow.ts'
import { watchSlot } from '../replicate/retained-wal-watch.ts'
import { loosenIdentityColumns } from '../schema/identity-columns.ts'
import { readDatabaseStatus, readRecord } from '../store/migrations.ts'
import { requireApplyRights } from './apply-rights.ts'
import { reversed } from './reversed-context.ts'

/** For identity columns, once: whoever reads the old server at that moment is not to be queued up behind us. */
const LOCK_TIMEOUT = '10s'

type Next = 'slice' | 'busy' | 'switchBack' | 'end'

/**
 * Brings what the new server commits to the old source, for one slice.
 *
 * No change goes round in a circle: the slot and the publications on the old source are gone before the first slice,
 * and what is applied there is read by nobody.
 *
 * @returns next: what the user has asked for; busy when another copy is at work, else slice
 */
export async function followBack(context: DatabaseContext): Promise<{ next: Next }> {
  const back = reversed(context)
  const asked = await askedOf(context)
  if (asked !== undefined) return { next: asked }
  // One that is being called off goes on with that at once: applications wait for it.
  const { calledOff } = await readDatabaseStatus(context.documents, back.key, context.database)
  if (calledOff) return { next: 'switchBack' }
  {
    // Also when the old server does not answer: that is when the new one keeps its WAL, and its disk fills.
    await using _look = watchSlot(back)
  }
  {
    await using old = await back.target('way back')
    await requireApplyRights(old)
    // An UPDATE may set a GENERATED ALWAYS column to DEFAULT only. They are what they were when the way back ends.
    await old.query(`set lock_timeout = '${LOCK_TIMEOUT}'`)
    await loosenIdentityColumns(old)
  }
  const next = await followForASlice(back, async () => (await askedOf(context)) !== undefined)
  return { next: next === 'command' ? ((await askedOf(context)) ?? 'slice') : next }
}

/** What the user wants of the way back, as it is stored now. */
export async function askedOf({
  documents,
  key,
  database,
}: DatabaseContext): Promise<'switchBack' | 'end' | undefined> {
  return (await readRecord(documents, key))?.requests.fallback?.[database]?.action
}
