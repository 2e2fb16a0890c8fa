import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { errorText, MigrationError } from '../errors.ts'
import { copyUnfollowedTables } from '../load/copy-unfollowed-tables.ts'
import { copyLargeObjectsAgain } from '../load/large-objects.ts'
import { formatLsn, parseLsn } from '../lsn.ts'
import { findUnfollowedTables } from '../replicate/unfollowed-tables.ts'
import { carryNewSequences } from '../replicate/new-tables/carry-new-sequences.ts'
import { replanStatements } from '../replicate/schema-change/replan-statements.ts'
import { applyPostData } from '../schema/apply-post-data.ts'
import { refuseFailedObjects } from '../schema/failed-objects.ts'
import { restoreIdentityColumns } from '../schema/identity-columns.ts'
import { reportPostData } from '../schema/report-post-data.ts'
import { copySequences } from '../schema/sequences.ts'
import { afterCutover } from '../model/after-cutover.ts'
import { updateRecord } from '../store/migrations.ts'
import { verifyDatabase } from '../verify/verify-database.ts'
import { cutoverSteps, type CutoverSteps } from './cutover-steps.ts'
import { beginDrain, type Drain } from './drain.ts'
import { flushedLsn, takeEndLsn } from './end-lsn.ts'
import { freezeSource, letWritesIn } from './freeze-source.ts'
import { keepSessions, type KeptSessions } from './kept-sessions.ts'
import { refuseLateWrites } from './late-writes.ts'

/**
 * Cuts one database over. Each step is recorded and can be run again; killed anywhere, the next call goes on.
 * Until the comparison has passed, a failure calls the cutover off: writes are let in again on the source and
 * the migration goes back to following. After it, there is only forwards.
 */
export async function cutoverDatabase(context: DatabaseContext): Promise<{ next: 'finished' | 'slice' }> {
  await using target = await context.target('cutover')
  await using leaseSession = await context.target('cutover lease')
  await using lease = await acquireLease(leaseSession, 'cutover')
  if (!lease) throw new MigrationError('Busy', 'Another copy of the cutover is at work.', { retryable: true })
  // A successor that finds us standing still ends this session, and with it every further step.
  await lease.addSession(target)
  const { cutover } = await context.status((status) => ({
    ...status,
    phase: 'CuttingOver',
    migrationState: 'InProgress',
    message: undefined,
    cutover: status.cutover ?? { startedAt: new Date().toISOString(), steps: [] },
  }))
  const steps = cutoverSteps(context, target, lease, cutover!.startedAt)
  await using kept = keepSessions(context)
  try {
    await bringAcross(context, steps, lease, target, kept)
  } catch (error) {
    await steps.told()
    if (context.draining.aborted || lease.lost.aborted || isLeaseLost(error)) throw error
    await callOff(context, error)
    return { next: 'slice' }
  }
  await steps.run('triggers and constraints', async () => {
    // A lock that somebody holds on the target is told, and waited for in another try.
    await target.query(`set lock_timeout = '10s'`)
    await restoreIdentityColumns(target)
    await reportPostData(context, await applyPostData(kept.context, 'cutover'))
  })
  await steps.told()
  await finish(context, steps)
  return { next: 'finished' }
}

/** All that can still be called off. */
async function bringAcross(
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
  if (!online) return await bringRest(kept.context, steps)
  // What comes after the end is for the check for late writes.
  const isDrained = (await steps.detail('drain')) !== undefined
  await using draining = isDrained ? undefined : beginDrain(context)
  await bringChanges(kept.context, steps, lease, target, draining)
  await bringRest(kept.context, steps)
  await steps.run('check for late writes', () => refuseLateWrites(kept.context, draining?.after()))
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
  await steps.run('unfollowed tables', () => copyUnfollowedTables(context, lease))
  await steps.run('large objects', () => copyLargeObjectsAgain(context, lease, steps.attempt))
}

/** What is in no stream, and the comparison. */
async function bringRest(context: DatabaseContext, steps: CutoverSteps): Promise<void> {
  await steps.run('sequences', async () => {
    await using source = await context.source('sequences')
    await using target = await context.target('sequences')
    if (context.record.properties.migrationMode === 'Online') await carryNewSequences(context, source, target)
    return await copySequences(source, target)
  })
  await steps.run('compare', () => verifyDatabase(context))
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

function isLeaseLost(error: unknown): boolean {
  return error instanceof MigrationError && error.code === 'LeaseLost'
}

/**
 * Ends the attempt, lets writes in again, forgets the user's request, and says why. The attempt ends first:
 * killed after that, the next one freezes anew instead of trusting the steps of this one.
 */
async function callOff(context: DatabaseContext, error: unknown): Promise<void> {
  const { freeze } = await context.status((status) => ({ ...status, cutover: undefined }))
  await letWritesIn(context)
  await updateRecord(context.documents, context.key, (record) => {
    const { [context.database]: _, ...cutover } = record.requests.cutover
    return { ...record, requests: { ...record.requests, cutover } }
  })
  const message = `The cutover was called off${freeze ? ', and writes are let in again on the source' : ''}: ${errorText(error)}`
  await context.event({ level: 'error', event: 'CutoverCalledOff', message })
  const offline = context.record.properties.migrationMode === 'Offline'
  if (offline) throw error
  await context.status((status) => ({
    ...status,
    phase: 'Following',
    migrationState: 'WaitingForCutoverTrigger',
    message,
  }))
}

async function finish(context: DatabaseContext, steps: CutoverSteps): Promise<void> {
  const [done, lsn] = [await steps.done(), await steps.detail<{ lsn: string }>('take LSN')]
  const endedAt = done.at(-1)!.endedAt!
  const freeze = done.find(({ name }) => name === 'freeze writes') ?? done[0]!
  const downtimeSeconds = (Date.parse(endedAt) - Date.parse(freeze.startedAt)) / 1000
  const { cutover } = await context.status((status) => ({
    ...status,
    latencySeconds: 0,
    lagBytes: 0,
    cutover: {
      startedAt: steps.attempt,
      endedAt,
      downtimeSeconds,
      ...(lsn ? { endLsn: lsn.lsn } : {}),
      steps: done,
    },
  }))
  await context.event({
    level: 'info',
    event: 'CutOver',
    message: `"${context.database}" was cut over; downtime ${cutover?.downtimeSeconds?.toFixed(2)} s.`,
  })
  const [{ text } = { text: '' }] = afterCutover(context.record, context.database).connectionStrings
  await context.event({
    level: 'info',
    event: 'PointApplicationsHere',
    message: `The applications of "${context.database}" belong on the target now: ${text}. The report has it for JDBC, .NET, Node and Python, and what to switch on.`,
  })
}
