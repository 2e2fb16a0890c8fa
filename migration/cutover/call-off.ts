import { setTimeout as sleep } from 'node:timers/promises'
import type { DatabaseContext } from '../context.ts'
import { errorText, toFailure } from '../errors.ts'
import type { DatabaseStatus } from '../model/status.ts'
import { callOffWayBack } from '../fallback/way-back.ts'
import { readDatabaseStatus, updateRecord } from '../store/migrations.ts'
import { mayCallOff, type Attempt } from './attempt.ts'
import { letWritesIn } from './freeze-source.ts'

/** ms; as long as a slice of following. What is not done then goes on in the next call, which comes without a pause. */
const GO_BACK_MS = 30_000
/** ms; applications wait for it. */
const RETRY_MS = 500

type CalledOff = NonNullable<DatabaseStatus['calledOff']>

/**
 * Ends an attempt that is not decided, and lets writes in again on the source; it needs no target. The attempt ends
 * first, in the status document: no copy of it goes on after that, and whoever comes next goes back as well.
 *
 * @param own undefined when the target could not be reached
 * @returns false when there is only forwards, or another copy is at work
 */
export async function callOff(context: DatabaseContext, error: unknown, own: Attempt | undefined): Promise<boolean> {
  const { message, hint } = toFailure(error)
  const reason = hint === undefined ? message : `${message} ${hint}`
  let ended = false
  await context.status((status) => {
    ended = mayCallOff(status, own)
    if (!mayCallOff(status, own)) return status
    const calledOff = { attempt: status.cutover.startedAt, reason, frozen: status.freeze !== undefined }
    return { ...status, cutover: undefined, calledOff }
  })
  if (ended) await goBack(context)
  return ended
}

/**
 * Goes on with a call-off until writes are let in again on the source, which may be away; then the migration follows
 * again. Killed, or out of time, the next call goes on.
 */
export async function goBack(context: DatabaseContext): Promise<void> {
  const { calledOff } = await readDatabaseStatus(context.documents, context.key, context.database)
  if (calledOff === undefined || !(await insistOnLettingIn(context, calledOff))) return
  await callOffWayBack(context)
  await updateRecord(context.documents, context.key, (record) => {
    const { [context.database]: _, ...cutover } = record.requests.cutover
    return { ...record, requests: { ...record.requests, cutover } }
  })
  const { reason, frozen } = calledOff
  const message = `The cutover was called off${frozen ? ', and writes are let in again on the source' : ''}: ${reason}`
  await context.event({ level: 'error', event: 'CutoverCalledOff', message })
  const online = context.record.properties.migrationMode === 'Online'
  await context.status((status) =>
    isOf(status, calledOff)
      ? {
          ...status,
          calledOff: undefined,
          ...(online ? { phase: 'Following', migrationState: 'WaitingForCutoverTrigger', message } : {}),
        }
      : status,
  )
}

/** @returns false when the time is over */
async function insistOnLettingIn(context: DatabaseContext, calledOff: CalledOff): Promise<boolean> {
  for (const deadline = Date.now() + GO_BACK_MS; ;) {
    try {
      await letWritesIn(context, (status) => isOf(status, calledOff))
      return true
    } catch (error) {
      context.draining.throwIfAborted()
      await tellStopped(context, calledOff, error)
    }
    if (Date.now() > deadline) return false
    await sleep(RETRY_MS, undefined, { signal: context.draining })
  }
}

async function tellStopped(context: DatabaseContext, calledOff: CalledOff, error: unknown): Promise<void> {
  const start = `The cutover is being called off (${calledOff.reason}), but writes are still stopped on the source: `
  const message = `${start}${errorText(error)} This is tried again until they are let in.`
  let first = false
  await context.status((status) => {
    if (!isOf(status, calledOff)) return status
    first = status.message?.startsWith(start) !== true
    return { ...status, message }
  })
  if (first) await context.event({ level: 'error', event: 'WritesStillStopped', message })
}

function isOf(status: DatabaseStatus, { attempt }: CalledOff): boolean {
  return status.calledOff?.attempt === attempt && status.phase !== 'CleaningUp' && status.phase !== 'Ended'
}
