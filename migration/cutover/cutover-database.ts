import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, checkFence, type Lease } from '../control/lease.ts'
import { errorText, MigrationError } from '../errors.ts'
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
import { afterCutover } from '../model/after-cutover.ts'
import type { CutoverReport } from '../model/status.ts'
import { readDatabaseStatus, readEvents } from '../store/migrations.ts'
import { verifyDatabase } from '../verify/verify-database.ts'
import { beginAttempt, decide, underFence, type Attempt } from './attempt.ts'
import { callOff, goBack } from './call-off.ts'
import { cutoverSteps, type CutoverSteps } from './cutover-steps.ts'
import { takeEndLsn } from './end-lsn.ts'
import { freezeSource } from './freeze-source.ts'
import { fillUnfollowedTables, refillUnloggedTables } from './unlogged-tables.ts'

/** s; how long the drain may take beyond the latency that a cutover may begin with. */
const DRAIN_ALLOWANCE = 60

const LAST_EVENT = 'PointApplicationsHere'

/**
 * Cuts one database over. Each step is recorded and can be run again; killed anywhere, the next call goes on.
 * Until the comparison has passed, a failure calls the cutover off: writes are let in again on the source and
 * the migration goes back to following. After it, there is only forwards.
 */
export async function cutoverDatabase(context: DatabaseContext): Promise<{ next: 'finished' | 'slice' }> {
  const { calledOff } = await readDatabaseStatus(context.documents, context.key, context.database)
  if (calledOff) {
    await goBack(context)
    return { next: 'slice' }
  }
  let own: Attempt | undefined
  try {
    await using target = await context.target('cutover')
    await using leaseSession = await context.target('cutover lease')
    await using lease = await acquireLease(leaseSession, 'cutover')
    if (!lease) throw new MigrationError('Busy', 'Another copy of the cutover is at work.', { retryable: true })
    // A successor that finds us standing still ends this session, and with it every further step.
    await lease.addSession(target)
    const status = await beginAttempt(context, lease)
    if (status.calledOff) return { next: 'slice' }
    own = { attempt: status.cutover!.startedAt, fence: lease.fence }
    try {
      const fenced = underFence(context, own)
      if (status.cutover!.endedAt === undefined) await bringOver(fenced, status.cutover!, lease, target)
      await finish(fenced)
      return { next: 'finished' }
    } catch (error) {
      // Before the sessions are closed: that waits for a target which may not answer.
      return await goBackOrThrow(context, error, own)
    }
  } catch (error) {
    if (own !== undefined || isCode(error, 'Busy')) throw error
    return await goBackOrThrow(context, error, undefined)
  }
}

async function goBackOrThrow(
  context: DatabaseContext,
  error: unknown,
  own: Attempt | undefined,
): Promise<{ next: 'slice' }> {
  if (context.draining.aborted || isCode(error, 'LeaseLost') || !(await callOff(context, error, own))) throw error
  if (context.record.properties.migrationMode === 'Offline') throw error
  return { next: 'slice' }
}

async function bringOver(
  context: DatabaseContext,
  cutover: CutoverReport,
  lease: Lease,
  target: Connection,
): Promise<void> {
  const steps = cutoverSteps(context, target, lease, cutover.startedAt)
  if (cutover.decidedAt === undefined) {
    await bringAcross(context, steps, lease, target)
    await decide(context)
  }
  try {
    await steps.run('triggers and constraints', async () => {
      // A lock that somebody holds on the target is told, and waited for in another try.
      await target.query(`set lock_timeout = '10s'`)
      await restoreIdentityColumns(target)
      await reportPostData(context, await applyPostData(context, 'cutover'))
    })
    await refillUnloggedTables(context, steps, lease, target)
  } catch (error) {
    if (!context.draining.aborted && !isCode(error, 'LeaseLost')) await tellHeldUp(context, error)
    throw error
  }
}

/** There is only forwards: whoever waits for the database has to know what for. */
async function tellHeldUp(context: DatabaseContext, error: unknown): Promise<void> {
  const message = `The cutover has passed its comparison and only goes forwards; it is tried again: ${errorText(error)}`
  const { message: before } = await readDatabaseStatus(context.documents, context.key, context.database)
  await context.status({ message })
  if (before === undefined || !before.includes(errorText(error))) {
    await context.event({ level: 'error', event: 'CutoverHeldUp', message })
  }
}

/** All that can still be called off. */
async function bringAcross(
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
    await fillUnfollowedTables(context, steps, lease, target)
    await steps.run('large objects', () => copyLargeObjectsAgain(context, lease, steps.attempt))
  }
  await steps.run('sequences', async () => {
    await using source = await context.source('sequences')
    await using sequences = await context.target('sequences')
    // A copy of this that stands still loses the session to its successor.
    await lease.addSession(sequences)
    if (online) await carryNewSequences(context, source, sequences)
    return await copySequencesOnce(source, sequences, lease)
  })
  await steps.run('compare', () => verifyDatabase(context))
  if (online) await steps.run('check for late writes', () => refuseLateWrites(context))
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

function isCode(error: unknown, code: string): boolean {
  return error instanceof MigrationError && error.code === code
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

async function finish(context: DatabaseContext): Promise<void> {
  const endedAt = new Date().toISOString()
  await context.status((status) => {
    const report = status.cutover!
    if (report.endedAt !== undefined) return status
    const freeze = report.steps.find(({ name }) => name === 'freeze writes') ?? report.steps[0]
    const downtime = (Date.parse(endedAt) - Date.parse(freeze?.startedAt ?? report.startedAt)) / 1000
    return {
      ...status,
      message: undefined,
      latencySeconds: 0,
      lagBytes: 0,
      cutover: { ...report, endedAt, downtimeSeconds: downtime },
    }
  })
  await tellCutOver(context)
}

/** Also when an earlier call died before it had told all of it. */
async function tellCutOver(context: DatabaseContext): Promise<void> {
  const { documents, key, database, record } = context
  const { cutover } = await readDatabaseStatus(documents, key, database)
  const told = (await readEvents(documents, key)).some(
    (one) => one.event === LAST_EVENT && one.database === database && one.at >= cutover!.endedAt!,
  )
  if (told) return
  await context.event({
    level: 'info',
    event: 'CutOver',
    message: `"${database}" was cut over; downtime ${cutover!.downtimeSeconds!.toFixed(2)} s.`,
  })
  const [{ text } = { text: '' }] = afterCutover(record, database).connectionStrings
  await context.event({
    level: 'info',
    event: LAST_EVENT,
    message: `The applications of "${database}" belong on the target now: ${text}. The report has it for JDBC, .NET, Node and Python, and what to switch on.`,
  })
}
