import { setTimeout as sleep } from 'node:timers/promises'
import type { DatabaseContext } from '../context.ts'
import { errorText, toFailure } from '../errors.ts'
import type { DatabaseStatus } from '../model/status.ts'
import { readDatabaseStatus } from '../store/migrations.ts'
import { isOver, mayCallOff, type Attempt } from './attempt.ts'
import { letWritesIn } from './freeze-source.ts'

/** ms; as long as a slice of following. What is not done then goes on in the next call, which comes without a pause. */
const GO_BACK_MS = 30_000
/** ms; applications wait for it. */
const RETRY_MS = 500

type CalledOff = NonNullable<DatabaseStatus['calledOff']>

/** How a cutover is called off, or a switch back. */
export interface CallOffTerms {
  what: 'cutover' | 'switch back'
  /** The server that was frozen, as the user knows it. */
  where: 'the source' | 'the new server'
  event: 'CutoverCalledOff' | 'SwitchBackCalledOff'
  /** Forgets that the user has asked for it. */
  forget: () => Promise<unknown>
  /** What the status is after it. */
  after: Partial<DatabaseStatus>
  /** Puts a message for the status into the user's words; those of events are. */
  words: (message: string) => string
}

/**
 * Ends an attempt that is not decided, and lets writes in again on the source; it needs no target. The attempt ends
 * first, in the status document: no copy of it goes on after that, and whoever comes next goes back as well.
 *
 * @param own undefined when the target could not be reached
 * @returns false when there is only forwards, or another copy is at work
 */
export async function callOff(
  context: DatabaseContext,
  terms: CallOffTerms,
  error: unknown,
  own: Attempt | undefined,
): Promise<boolean> {
  const { message, hint } = toFailure(error)
  const reason = hint === undefined ? message : `${message} ${hint}`
  let ended = false
  await context.status((status) => {
    ended = mayCallOff(status, own)
    if (!mayCallOff(status, own)) return status
    const calledOff = { attempt: status.cutover.startedAt, reason, frozen: status.freeze !== undefined }
    return { ...status, cutover: undefined, calledOff }
  })
  if (ended) await goBack(context, terms)
  return ended
}

/**
 * Goes on with a call-off until writes are let in again on the source, which may be away; then the migration follows
 * again. Killed, or out of time, the next call goes on.
 */
export async function goBack(context: DatabaseContext, terms: CallOffTerms): Promise<void> {
  const { calledOff } = await readDatabaseStatus(context.documents, context.key, context.database)
  if (calledOff === undefined || !(await insistOnLettingIn(context, terms, calledOff))) return
  // What this copy slept through, while another one was done with it, may have been asked for anew.
  if (!isOf(await readDatabaseStatus(context.documents, context.key, context.database), calledOff)) return
  await terms.forget()
  const { reason, frozen } = calledOff
  const letIn = frozen ? `, and writes are let in again on ${terms.where}` : ''
  const message = `The ${terms.what} was called off${letIn}: ${reason}`
  await context.event({ level: 'error', event: terms.event, message })
  await context.status((status) =>
    isOf(status, calledOff)
      ? {
          ...status,
          calledOff: undefined,
          ...terms.after,
          ...(terms.after.phase === undefined ? {} : { message: terms.words(message) }),
        }
      : status,
  )
}

/** @returns false when the time is over */
async function insistOnLettingIn(
  context: DatabaseContext,
  terms: CallOffTerms,
  calledOff: CalledOff,
): Promise<boolean> {
  for (const deadline = Date.now() + GO_BACK_MS; ;) {
    try {
      await letWritesIn(context, (status) => isOf(status, calledOff))
      return true
    } catch (error) {
      context.draining.throwIfAborted()
      await tellStopped(context, terms, calledOff, error)
    }
    if (Date.now() > deadline) return false
    await sleep(RETRY_MS, undefined, { signal: context.draining })
  }
}

async function tellStopped(
  context: DatabaseContext,
  { what, where, words }: CallOffTerms,
  calledOff: CalledOff,
  error: unknown,
): Promise<void> {
  const start = `The ${what} is being called off (${calledOff.reason}), but writes are still stopped on ${where}: `
  const message = `${start}${errorText(error)} This is tried again until they are let in.`
  let first = false
  await context.status((status) => {
    if (!isOf(status, calledOff)) return status
    first = status.message?.startsWith(start) !== true
    return { ...status, message: words(message) }
  })
  if (first) await context.event({ level: 'error', event: 'WritesStillStopped', message })
}

function isOf(status: DatabaseStatus, { attempt }: CalledOff): boolean {
  return status.calledOff?.attempt === attempt && !isOver(status)
}
