import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { checkFence, type Lease } from '../control/lease.ts'
import { MigrationError } from '../errors.ts'
import { copyExtensionTables } from '../load/copy-extension-tables.ts'
import { copyLargeObjectsAgain } from '../load/large-objects.ts'
import { formatLsn, parseLsn } from '../lsn.ts'
import { carryNewSequences } from '../replicate/new-tables/carry-new-sequences.ts'
import { replanStatements } from '../replicate/schema-change/replan-statements.ts'
import { findUnfollowedTables } from '../replicate/unfollowed-tables.ts'
import { refuseFailedObjects } from '../schema/failed-objects.ts'
import { copySequences } from '../schema/sequences.ts'
import { verifyDatabase } from '../verify/verify-database.ts'
import type { CutoverSteps } from './cutover-steps.ts'
import { beginDrain, type Drain } from './drain.ts'
import { flushedLsn, takeEndLsn } from './end-lsn.ts'
import { freezeSource, requireFreeze } from './freeze-source.ts'
import type { KeptSessions } from './kept-sessions.ts'
import { refuseLateWrites } from './late-writes.ts'
import { whileSourceAnswers } from './silent-source.ts'
import { fillUnfollowedTables } from './unlogged-tables.ts'

/**
 * The steps of a cutover that can still be called off: freezes the source, brings everything that it has committed,
 * and compares.
 *
 * @param lease of the cutover, in the control schema of `target`
 * @param kept sessions of both sides, opened here before the freeze
 */
export function bringAcross(
  context: DatabaseContext,
  steps: CutoverSteps,
  lease: Lease,
  target: Connection,
  kept: KeptSessions,
): Promise<void> {
  return whileSourceAnswers(context, () => bring(context, steps, lease, target, kept))
}

async function bring(
  context: DatabaseContext,
  steps: CutoverSteps,
  lease: Lease,
  target: Connection,
  kept: KeptSessions,
): Promise<void> {
  const online = context.record.properties.migrationMode === 'Online'
  // Before the freeze: an index that is tried again may take its time.
  if (online) await steps.run('check objects', () => refuseFailedObjects(context))
  await kept.open()
  if (!online) return await bringRest(kept.context, steps, lease)
  // What comes after the end is for the check for late writes.
  const isDrained = (await steps.detail('drain')) !== undefined
  const draining = isDrained ? undefined : kept.use(beginDrain(context))
  await bringChanges(kept.context, steps, lease, target, draining)
  await bringRest(kept.context, steps, lease)
  await steps.run('check for late writes', async () => {
    const { lsn } = (await steps.detail<{ lsn: string }>('take LSN'))!
    if (context.record.properties.pgflex.writeFreeze === 'Automatic') await requireFreeze(kept.context)
    await refuseLateWrites(kept.context, draining?.after(), parseLsn(lsn))
  })
}

/** Freezes the source, and brings everything that it has committed. */
async function bringChanges(
  context: DatabaseContext,
  steps: CutoverSteps,
  lease: Lease,
  target: Connection,
  draining: Drain | undefined,
): Promise<void> {
  const taken = await steps.detail<{ lsn: string }>('take LSN')
  if (taken) draining?.endAt(parseLsn(taken.lsn))
  if (context.record.properties.pgflex.writeFreeze === 'Automatic') {
    await steps.run('catch up', async () => draining?.near(await flushedLsn(context)))
    await steps.run('freeze writes', () => freezeSource(context, lease, target))
  }
  await steps.run('take LSN', async () => {
    const lsn = await takeEndLsn(context)
    draining?.endAt(lsn)
    return { lsn: formatLsn(lsn) }
  })
  await steps.run('check tables', () => refuseUnfollowedTables(context))
  await steps.run('drain', async () => {
    const { lsn } = (await steps.detail<{ lsn: string }>('take LSN'))!
    await draining?.to(parseLsn(lsn))
    await replanStatements(context)
  })
  await fillUnfollowedTables(context, steps, lease, target)
  await steps.run('large objects', () => copyLargeObjectsAgain(context, lease, steps.attempt))
}

/** What is in no stream, and the comparison. */
async function bringRest(context: DatabaseContext, steps: CutoverSteps, lease: Lease): Promise<void> {
  await steps.run('extension tables', () => copyExtensionTables(context))
  await steps.run('sequences', async () => {
    await using source = await context.source('sequences')
    await using target = await context.target('sequences')
    // A copy of this that stands still loses the session to its successor.
    await lease.addSession(target)
    if (context.record.properties.migrationMode === 'Online') await carryNewSequences(context, source, target)
    return await copySequencesOnce(source, target, lease)
  })
  await steps.run('compare', () => verifyDatabase(context))
}

/** What setval does stays: a copy that stood still must not set back a sequence that the application uses by now. */
async function copySequencesOnce(source: Connection, target: Connection, lease: Lease): Promise<object> {
  await target.query('begin')
  await checkFence(target, lease)
  const copied = await copySequences(source, target)
  await target.query('commit')
  return copied
}

/** A table that was made after the migration began is not on the target. */
async function refuseUnfollowedTables(context: DatabaseContext): Promise<void> {
  const { added } = await findUnfollowedTables(context)
  if (added.length === 0) return
  throw new MigrationError(
    'TablesNotFollowed',
    `These tables were made after the migration began, and are not on the target: ${added.join(', ')}.`,
    {
      hint: 'Drop them, or leave them out (pgflex.excludeTables) in a new migration of this database.',
    },
  )
}
