import type { DatabaseContext } from '../context.ts'
import { decide, isOver } from '../cutover/attempt.ts'
import { bringAcross } from '../cutover/bring-across.ts'
import type { CallOffTerms } from '../cutover/call-off.ts'
import { cutoverSteps } from '../cutover/cutover-steps.ts'
import { finishAttempt, isTold } from '../cutover/finish-attempt.ts'
import { letWritesIn } from '../cutover/freeze-source.ts'
import { runAttempt, type AtWork } from '../cutover/run-attempt.ts'
import { MigrationError } from '../errors.ts'
import { ofWayBack } from '../model/fallback.ts'
import { applyPostData } from '../schema/apply-post-data.ts'
import { reportPostData } from '../schema/report-post-data.ts'
import { readDatabaseStatus, updateRecord } from '../store/migrations.ts'
import { askedOf } from './follow-back.ts'
import { reversed } from './reversed-context.ts'

const LAST_EVENT = 'SwitchedBack'

/**
 * Cuts a database over to its old source: the steps of the cutover with the sides changed over, and at the end writes
 * are let in there. The new server stays read-only.
 *
 * Whether writes go on here or there is decided once, in the status document of the way back, which knows of no
 * server that may be away: either an attempt is decided, and then there is only forwards, or it is called off.
 */
export async function switchBack(context: DatabaseContext): Promise<{ next: 'finished' | 'slice' }> {
  const back = reversed(context)
  const wanted = (await askedOf(context)) === 'switchBack'
  const { phase, cutover, calledOff } = await back.status((status) => {
    if (isOver(status) || status.calledOff !== undefined) return status
    // The user wants another thing by now. One that is begun is called off below, unless it is decided.
    if (!wanted && status.cutover === undefined) return { ...status, phase: 'Following' }
    // It begins here, and not when there is a lease: it is called off, and told, also when the old server is away.
    return {
      ...status,
      phase: 'CuttingOver',
      message: undefined,
      cutover: status.cutover ?? { startedAt: new Date().toISOString(), steps: [] },
    }
  })
  // A second copy of this activity comes here also when all is over.
  if (isOver({ phase })) return { next: cutover?.endedAt === undefined ? 'slice' : 'finished' }
  if (phase !== 'CuttingOver' && calledOff === undefined) return { next: 'slice' }
  const next = await runAttempt(back, {
    purpose: 'switch back',
    terms: callOffTerms(context),
    async run(work) {
      if (work.cutover.endedAt === undefined) await bringBack(context, work)
      await tellSwitchedBack(context)
    },
  })
  return { next }
}

function callOffTerms({ documents, key, database }: DatabaseContext): CallOffTerms {
  return {
    what: 'switch back',
    where: 'the new server',
    event: 'SwitchBackCalledOff',
    forget: () =>
      updateRecord(documents, key, (record) => {
        const { [database]: asked, ...fallback } = record.requests.fallback ?? {}
        // It may be another thing by now, and that stays.
        if (asked?.action !== 'switchBack') return record
        return { ...record, requests: { ...record.requests, fallback } }
      }),
    after: { phase: 'Following' },
    words: ofWayBack,
  }
}

async function bringBack(context: DatabaseContext, work: AtWork): Promise<void> {
  const { context: back, kept, cutover, lease, target: old } = work
  const steps = cutoverSteps(back, old, lease, cutover.startedAt)
  try {
    if (cutover.decidedAt === undefined) {
      await refuseUnwanted(context)
      await bringAcross(back, steps, lease, old, kept)
      // Of tables that were made since the cutover; those of all others are there.
      await steps.run('triggers and constraints', async () => {
        await reportPostData(back, await applyPostData(back, 'cutover'))
      })
      await refuseUnwanted(context)
      await decide(back)
    }
    // Identity columns are made as they were after it: a reader on the old server may hold that up.
    await steps.run('let writes in', () => letWritesIn(context))
  } finally {
    await steps.told()
  }
  await finishAttempt(back, steps)
}

/** @throws {MigrationError} SwitchBackUnwanted */
async function refuseUnwanted(context: DatabaseContext): Promise<void> {
  if ((await askedOf(context)) === 'switchBack') return
  throw new MigrationError('SwitchBackUnwanted', 'The end of the way back was asked for instead.')
}

/** Also when an earlier call died before it had told it. */
async function tellSwitchedBack(context: DatabaseContext): Promise<void> {
  const { documents, database, record } = context
  const { cutover } = await readDatabaseStatus(documents, reversed(context).key, database)
  if (await isTold(context, LAST_EVENT, cutover!.endedAt!)) return
  const { host, port } = record.source
  await context.event({
    level: 'info',
    event: LAST_EVENT,
    message: `"${database}" was switched back to ${host}:${port}; downtime ${cutover!.downtimeSeconds!.toFixed(2)} s. Its applications belong there again; the new server is read-only.`,
  })
}
