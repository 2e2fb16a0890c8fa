import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { unlessAborted } from '../control/silence.ts'
import { MigrationError } from '../errors.ts'
import type { CutoverReport } from '../model/status.ts'
import { readDatabaseStatus } from '../store/migrations.ts'
import { beginAttempt, underFence, type Attempt } from './attempt.ts'
import { callOff, goBack, type CallOffTerms } from './call-off.ts'
import { keepSessions, type KeptSessions } from './kept-sessions.ts'

/** What an attempt works with. */
export interface AtWork {
  /** Its status is that of this attempt only: see underFence(). */
  context: DatabaseContext
  kept: KeptSessions
  cutover: CutoverReport
  /** In the control schema of `target`. */
  lease: Lease
  target: Connection
}

export interface AttemptWork {
  /** As its sessions are named. */
  purpose: 'cutover' | 'switch back'
  terms: CallOffTerms
  /** Its steps, as far as they are still to be done. */
  run: (work: AtWork) => Promise<void>
}

/**
 * Works at the attempt that is under way, or begins one; goes on with calling off one that is being called off. Until an
 * attempt is decided a failure calls it off: that of a server which takes everything and answers nothing as well, since
 * applications wait.
 *
 * @returns slice when it was called off: following goes on
 * @throws what has failed where there is only forwards, where another copy is at work, and when the host stops
 */
export async function runAttempt(
  context: DatabaseContext,
  { purpose, terms, run }: AttemptWork,
): Promise<'finished' | 'slice'> {
  const { calledOff } = await readDatabaseStatus(context.documents, context.key, context.database)
  if (calledOff) {
    await goBack(context, terms)
    return 'slice'
  }
  let own: Attempt | undefined
  try {
    await using target = await context.target(purpose)
    await using leaseSession = await context.target(`${purpose} lease`)
    await using lease = await acquireLease(leaseSession, 'cutover')
    if (!lease) throw new MigrationError('Busy', `Another copy of the ${purpose} is at work.`, { retryable: true })
    // A successor that finds us standing still ends this session, and with it every further step.
    await lease.addSession(target)
    const status = await beginAttempt(context, lease)
    if (status.calledOff) return 'slice'
    own = { attempt: status.cutover!.startedAt, fence: lease.fence }
    const fenced = underFence(context, own)
    await using kept = keepSessions(fenced)
    try {
      // What is left to itself changes nothing any more once the attempt is called off: see underFence().
      await unlessAborted(lease.silent, run({ context: fenced, kept, cutover: status.cutover!, lease, target }))
      return 'finished'
    } catch (error) {
      // Before the sessions are closed: that waits for a target which may not answer.
      return await goBackOrThrow(context, terms, error, own)
    }
  } catch (error) {
    if (own !== undefined || isCode(error, 'Busy')) throw error
    return await goBackOrThrow(context, terms, error, undefined)
  }
}

async function goBackOrThrow(
  context: DatabaseContext,
  terms: CallOffTerms,
  error: unknown,
  own: Attempt | undefined,
): Promise<'slice'> {
  if (context.draining.aborted || isCode(error, 'LeaseLost')) throw error
  if (!(await callOff(context, terms, error, own))) throw error
  if (context.record.properties.migrationMode === 'Offline') throw error
  return 'slice'
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof MigrationError && error.code === code
}
