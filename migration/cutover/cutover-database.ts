import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import type { Lease } from '../control/lease.ts'
import { errorText, MigrationError } from '../errors.ts'
import { applyPostData } from '../schema/apply-post-data.ts'
import { restoreIdentityColumns } from '../schema/identity-columns.ts'
import { reportPostData } from '../schema/report-post-data.ts'
import { beginWayBack, prepareWayBack, removeLeftWayBack, wantsWayBack } from '../fallback/way-back.ts'
import { afterCutover } from '../model/after-cutover.ts'
import { readDatabaseStatus, updateRecord } from '../store/migrations.ts'
import { decide } from './attempt.ts'
import { bringAcross } from './bring-across.ts'
import type { CallOffTerms } from './call-off.ts'
import { cutoverSteps, type CutoverSteps } from './cutover-steps.ts'
import { finishAttempt, isTold } from './finish-attempt.ts'
import { runAttempt, type AtWork } from './run-attempt.ts'
import { refillUnloggedTables } from './unlogged-tables.ts'

const LAST_EVENT = 'PointApplicationsHere'

/**
 * Cuts one database over. Each step is recorded and can be run again; killed anywhere, the next call goes on.
 * Until the comparison has passed, a failure calls the cutover off: writes are let in again on the source and
 * the migration goes back to following. After it, there is only forwards.
 */
export async function cutoverDatabase(context: DatabaseContext): Promise<{ next: 'finished' | 'slice' }> {
  const next = await runAttempt(context, {
    purpose: 'cutover',
    terms: callOffTerms(context),
    async run(work) {
      if (work.cutover.endedAt === undefined) await bringOver(work)
      await tellCutOver(work.context)
    },
  })
  // When the user has been told, and the lease is free: it is taken for this as by anybody else.
  if (next === 'slice') await removeLeftWayBack(context)
  return { next }
}

function callOffTerms(context: DatabaseContext): CallOffTerms {
  const { documents, key, database, record } = context
  return {
    what: 'cutover',
    where: 'the source',
    event: 'CutoverCalledOff',
    forget: () =>
      updateRecord(documents, key, (stored) => {
        const { [database]: _, ...cutover } = stored.requests.cutover
        return { ...stored, requests: { ...stored.requests, cutover } }
      }),
    after:
      record.properties.migrationMode === 'Online'
        ? { phase: 'Following', migrationState: 'WaitingForCutoverTrigger' }
        : {},
    words: (message) => message,
  }
}

async function bringOver({ context, kept, cutover, lease, target }: AtWork): Promise<void> {
  const steps = cutoverSteps(context, target, lease, cutover.startedAt)
  try {
    if (cutover.decidedAt === undefined) {
      const back = wantsWayBack(context)
      if (back) await steps.run('prepare way back', () => prepareWayBack(context, steps.attempt, lease, target))
      await bringAcross(context, steps, lease, target, kept)
      if (back) await steps.run('begin way back', () => beginWayBack(kept.context, steps.attempt))
      await decide(context)
    }
    await goForwards(kept.context, steps, lease, target)
  } finally {
    await steps.told()
  }
  await finishAttempt(context, steps)
}

async function goForwards(
  context: DatabaseContext,
  steps: CutoverSteps,
  lease: Lease,
  target: Connection,
): Promise<void> {
  try {
    await steps.run('triggers and constraints', async () => {
      // A lock that somebody holds on the target is told, and waited for in another try.
      await target.query(`set lock_timeout = '10s'`)
      await restoreIdentityColumns(target)
      await reportPostData(context, await applyPostData(context, 'cutover'))
    })
    await refillUnloggedTables(context, steps, lease, target)
  } catch (error) {
    const isLost = error instanceof MigrationError && error.code === 'LeaseLost'
    if (!context.draining.aborted && !isLost) await tellHeldUp(context, error)
    throw error
  }
}

/** Whoever waits for the database has to know what for. */
async function tellHeldUp(context: DatabaseContext, error: unknown): Promise<void> {
  const message = `The cutover has passed its comparison and only goes forwards; it is tried again: ${errorText(error)}`
  const { message: before } = await readDatabaseStatus(context.documents, context.key, context.database)
  await context.status({ message })
  if (before === undefined || !before.includes(errorText(error))) {
    await context.event({ level: 'error', event: 'CutoverHeldUp', message })
  }
}

/** Also when an earlier call died before it had told all of it. */
async function tellCutOver(context: DatabaseContext): Promise<void> {
  const { documents, key, database, record } = context
  const { cutover } = await readDatabaseStatus(documents, key, database)
  if (await isTold(context, LAST_EVENT, cutover!.endedAt!)) return
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
