import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { bringAcross } from '../cutover/bring-across.ts'
import { cutoverSteps } from '../cutover/cutover-steps.ts'
import { letWritesIn } from '../cutover/freeze-source.ts'
import { keepSessions } from '../cutover/kept-sessions.ts'
import { errorText, MigrationError } from '../errors.ts'
import { ofWayBack } from '../model/fallback.ts'
import { applyPostData } from '../schema/apply-post-data.ts'
import { reportPostData } from '../schema/report-post-data.ts'
import { updateRecord } from '../store/migrations.ts'
import { askedOf } from './follow-back.ts'
import { reversed } from './reversed-context.ts'

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
  const { phase, cutover } = await back.status((status) => {
    // A second copy of this activity comes here also when all is over.
    if (status.phase === 'CleaningUp' || status.phase === 'Ended') return status
    const isBegun = status.cutover !== undefined
    // The user wants another thing by now. One that is begun is called off below, unless it is decided.
    if (!wanted && !isBegun) return { ...status, phase: 'Following' }
    return {
      ...status,
      phase: 'CuttingOver',
      message: undefined,
      cutover: status.cutover ?? { startedAt: new Date().toISOString(), steps: [] },
    }
  })
  if (phase !== 'CuttingOver') return { next: cutover?.endedAt === undefined ? 'slice' : 'finished' }
  const attempt = cutover!.startedAt
  try {
    await using old = await back.target('switch back')
    await using leaseSession = await back.target('switch back lease')
    await using lease = await acquireLease(leaseSession, 'cutover')
    if (!lease) throw new MigrationError('Busy', 'Another copy of the switch back is at work.', { retryable: true })
    // A successor that finds us standing still ends this session, and with it every further step.
    await lease.addSession(old)
    await underLease(context, { attempt, decided: cutover!.decidedAt !== undefined, old, lease })
  } catch (error) {
    const mayGoOn = error instanceof MigrationError && (error.code === 'Busy' || error.code === 'LeaseLost')
    if (context.draining.aborted || mayGoOn || !(await callOff(context, attempt, error))) throw error
    return { next: 'slice' }
  }
  await finish(context)
  return { next: 'finished' }
}

interface Attempt {
  attempt: string
  decided: boolean
  old: Connection
  lease: Lease
}

async function underLease(context: DatabaseContext, { attempt, decided, old, lease }: Attempt): Promise<void> {
  const back = reversed(context)
  const steps = cutoverSteps(back, old, lease, attempt)
  await using kept = keepSessions(back)
  try {
    if (!decided) {
      await refuseUnwanted(context)
      await bringAcross(back, steps, lease, old, kept)
      // Of tables that were made since the cutover; those of all others are there.
      await steps.run('triggers and constraints', async () => {
        await reportPostData(back, await applyPostData(back, 'cutover'))
      })
      lease.lost.throwIfAborted()
      await decide(context, attempt)
    }
    // Identity columns are made as they were after it: a reader on the old server may hold that up.
    await steps.run('let writes in', () => letWritesIn(context))
  } finally {
    await steps.told()
  }
}

/** @throws {MigrationError} SwitchBackUnwanted */
async function refuseUnwanted(context: DatabaseContext): Promise<void> {
  if ((await askedOf(context)) === 'switchBack') return
  throw new MigrationError('SwitchBackUnwanted', 'The end of the way back was asked for instead.')
}

/** @throws {MigrationError} SwitchBackUnwanted; LeaseLost when another copy has called this attempt off */
async function decide(context: DatabaseContext, attempt: string): Promise<void> {
  const back = reversed(context)
  await refuseUnwanted(context)
  const { cutover } = await back.status((status) =>
    status.cutover?.startedAt === attempt
      ? { ...status, cutover: { ...status.cutover, decidedAt: new Date().toISOString() } }
      : status,
  )
  if (cutover?.startedAt === attempt) return
  throw new MigrationError('LeaseLost', 'Another copy has called the switch back off.', { retryable: true })
}

/**
 * Ends an attempt that is not decided: writes are let in again on the new server, the request is forgotten, and why is
 * said. The attempt ends first, so that no copy of it can be decided after that.
 *
 * @returns false when there is only forwards, or another attempt has begun
 */
async function callOff(context: DatabaseContext, attempt: string, error: unknown): Promise<boolean> {
  const back = reversed(context)
  let ended = false
  await back.status((status) => {
    ended = status.cutover?.startedAt === attempt && status.cutover.decidedAt === undefined
    return ended ? { ...status, cutover: undefined } : status
  })
  if (!ended) return false
  await letWritesIn(back)
  await updateRecord(context.documents, context.key, (record) => {
    const { [context.database]: asked, ...fallback } = record.requests.fallback ?? {}
    // It may be another thing by now, and that stays.
    if (asked?.action !== 'switchBack') return record
    return { ...record, requests: { ...record.requests, fallback } }
  })
  const hint = error instanceof MigrationError && error.hint !== undefined ? ` ${error.hint}` : ''
  const why = ofWayBack(`${errorText(error)}${hint}`)
  const message = `The switch back was called off, and writes are let in again on the new server: ${why}`
  await context.event({ level: 'error', event: 'SwitchBackCalledOff', message })
  await back.status((status) => ({ ...status, phase: 'Following', message }))
  return true
}

async function finish(context: DatabaseContext): Promise<void> {
  const back = reversed(context)
  const endedAt = new Date().toISOString()
  const { cutover } = await back.status((status) => {
    const report = status.cutover!
    const freeze = report.steps.find(({ name }) => name === 'freeze writes') ?? report.steps[0]
    const downtime = (Date.parse(endedAt) - Date.parse(freeze?.startedAt ?? report.startedAt)) / 1000
    return {
      ...status,
      latencySeconds: 0,
      lagBytes: 0,
      cutover: { ...report, endedAt: report.endedAt ?? endedAt, downtimeSeconds: report.downtimeSeconds ?? downtime },
    }
  })
  const { host, port } = context.record.source
  await context.event({
    level: 'info',
    event: 'SwitchedBack',
    message: `"${context.database}" was switched back to ${host}:${port}; downtime ${cutover!.downtimeSeconds!.toFixed(2)} s. Its applications belong there again; the new server is read-only.`,
  })
}
