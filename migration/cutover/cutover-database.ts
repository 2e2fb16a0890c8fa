import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { errorText, MigrationError } from '../errors.ts'
import { copyUnfollowedTables } from '../load/copy-unfollowed-tables.ts'
import { copyLargeObjectsAgain } from '../load/large-objects.ts'
import { formatLsn, parseLsn, type Lsn } from '../lsn.ts'
import { findUnfollowedTables } from '../replicate/unfollowed-tables.ts'
import { carryNewSequences } from '../replicate/new-tables/carry-new-sequences.ts'
import { replicateSlice } from '../replicate/replicate-slice.ts'
import { replanStatements } from '../replicate/schema-change/replan-statements.ts'
import { applyPostData } from '../schema/apply-post-data.ts'
import { refuseFailedObjects } from '../schema/failed-objects.ts'
import { restoreIdentityColumns } from '../schema/identity-columns.ts'
import { reportPostData } from '../schema/report-post-data.ts'
import { copySequences } from '../schema/sequences.ts'
import { beginWayBack, callOffWayBack, prepareWayBack, wantsWayBack } from '../fallback/way-back.ts'
import { afterCutover } from '../model/after-cutover.ts'
import { updateRecord } from '../store/migrations.ts'
import { verifyDatabase } from '../verify/verify-database.ts'
import { cutoverSteps, type CutoverSteps } from './cutover-steps.ts'
import { takeEndLsn } from './end-lsn.ts'
import { freezeSource, letWritesIn } from './freeze-source.ts'

/** s; how long the drain may take beyond the latency that a cutover may begin with. */
const DRAIN_ALLOWANCE = 60

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
  try {
    if (wantsWayBack(context))
      await steps.run('prepare way back', () => prepareWayBack(context, steps.attempt, lease, target))
    await bringAcross(context, steps, lease, target)
    if (wantsWayBack(context)) await steps.run('begin way back', () => beginWayBack(context, steps.attempt))
  } catch (error) {
    if (context.draining.aborted || lease.lost.aborted || isLeaseLost(error)) throw error
    await callOff(context, error)
    return { next: 'slice' }
  }
  await steps.run('triggers and constraints', async () => {
    // A lock that somebody holds on the target is told, and waited for in another try.
    await target.query(`set lock_timeout = '10s'`)
    await restoreIdentityColumns(target)
    await reportPostData(context, await applyPostData(context, 'cutover'))
  })
  await finish(context)
  return { next: 'finished' }
}

/** All that can still be called off; also that of a switch back, in the other direction. */
export async function bringAcross(
  context: DatabaseContext,
  steps: CutoverSteps,
  lease: Lease,
  target: Connection,
): Promise<void> {
  const { properties } = context.record
  const online = properties.migrationMode === 'Online'
  if (online) {
    // Before the freeze: an index that is tried again may take its time.
    await steps.run('check objects', () => refuseFailedObjects(context))
    if (properties.pgflex.writeFreeze === 'Automatic') {
      await steps.run('freeze writes', () => freezeSource(context, lease, target))
    }
    await steps.run('take LSN', async () => ({ lsn: formatLsn(await takeEndLsn(context)) }))
    await steps.run('check tables', () => refuseUnfollowedTables(context))
    await steps.run('drain', async () => {
      await drain(context, parseLsn((await steps.detail<{ lsn: string }>('take LSN'))!.lsn))
      await replanStatements(context)
    })
    await steps.run('unfollowed tables', () => copyUnfollowedTables(context, lease))
    await steps.run('large objects', () => copyLargeObjectsAgain(context, lease, steps.attempt))
  }
  await steps.run('sequences', async () => {
    await using source = await context.source('sequences')
    await using sequences = await context.target('sequences')
    if (online) await carryNewSequences(context, source, sequences)
    return await copySequences(source, sequences)
  })
  await steps.run('compare', () => verifyDatabase(context))
  if (online) await steps.run('check for late writes', () => refuseLateWrites(context))
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

/** Whatever was committed after the end LSN came from somebody whom the freeze, or the user, has not stopped. */
async function refuseLateWrites(context: DatabaseContext): Promise<void> {
  const changes = await drain(context, await takeEndLsn(context))
  if (changes === 0) return
  throw new MigrationError(
    'LateWrites',
    `${changes} rows were changed on the source after its writes were meant to have stopped.`,
    {
      hint: 'Stop every writer of this database (applications, jobs, subscriptions), and cut over again.',
    },
  )
}

function isLeaseLost(error: unknown): boolean {
  return error instanceof MigrationError && error.code === 'LeaseLost'
}

/** @returns the number of row changes that were applied on the way */
async function drain(context: DatabaseContext, until: Lsn): Promise<number> {
  const seconds = context.record.properties.pgflex.maxLatencySecondsForCutover + DRAIN_ALLOWANCE
  const deadline = Date.now() + seconds * 1000
  let changes = 0
  for (;;) {
    const slice = await replicateSlice(context, { ms: Math.max(1000, deadline - Date.now()), until })
    changes += slice.changes
    if (slice.reason === 'reached') {
      await context.status((status) => ({
        ...status,
        ...(status.cutover ? { cutover: { ...status.cutover, endLsn: formatLsn(until) } } : {}),
      }))
      return changes
    }
    context.draining.throwIfAborted()
    if (Date.now() > deadline) {
      throw new MigrationError('DrainTooSlow', `The target did not reach ${formatLsn(until)} within ${seconds} s.`, {
        hint: 'Wait until the latency is small, and cut over again.',
      })
    }
    if (slice.reason === 'busy') await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/**
 * Ends the attempt, lets writes in again, forgets the user's request, and says why. The attempt ends first:
 * killed after that, the next one freezes anew instead of trusting the steps of this one.
 */
async function callOff(context: DatabaseContext, error: unknown): Promise<void> {
  const { freeze } = await context.status((status) => ({ ...status, cutover: undefined }))
  await letWritesIn(context)
  await callOffWayBack(context)
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

async function finish(context: DatabaseContext): Promise<void> {
  const endedAt = new Date().toISOString()
  const { cutover } = await context.status((status) => {
    const report = status.cutover ?? { startedAt: endedAt, steps: [] }
    const freeze = report.steps.find(({ name }) => name === 'freeze writes') ?? report.steps[0]
    const downtime = (Date.parse(endedAt) - Date.parse(freeze?.startedAt ?? report.startedAt)) / 1000
    return { ...status, latencySeconds: 0, lagBytes: 0, cutover: { ...report, endedAt, downtimeSeconds: downtime } }
  })
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
