import type { DatabaseContext } from '../context.ts'
import { leaseLost, type Lease } from '../control/lease.ts'
import type { CutoverReport, DatabaseStatus } from '../model/status.ts'

/** One attempt to cut over, as one holder of the lease works at it. */
export interface Attempt {
  /** When it began; names it. */
  attempt: string
  fence: string
}

/**
 * Begins an attempt, or takes over the one that is under way. What becomes of an attempt is decided once, in the
 * status document, which is there when a server is away: it is called off, or from a moment on there is only forwards.
 *
 * @returns what there is: an attempt that has ended or is being called off is left as it is
 * @throws {MigrationError} LeaseLost when a later holder has written, or the migration of the database is over
 */
export function beginAttempt(
  context: DatabaseContext,
  { name, fence }: Pick<Lease, 'name' | 'fence'>,
): Promise<DatabaseStatus> {
  return context.status((status) => {
    if (isOver(status) || isLater(status, fence)) throw leaseLost(name)
    if (status.calledOff !== undefined || status.cutover?.endedAt !== undefined) return status
    return {
      ...status,
      phase: 'CuttingOver',
      migrationState: 'InProgress',
      // What holds up a cutover that only goes forwards stays told until it is over.
      message: status.cutover?.decidedAt === undefined ? undefined : status.message,
      cutoverFence: fence,
      cutover: status.cutover ?? { startedAt: new Date().toISOString(), steps: [] },
    }
  })
}

/**
 * The context with a status that only this holder's attempt may change: a copy of the activity that stood still
 * while another one went on, or while the attempt was called off, changes nothing when it wakes up.
 */
export function underFence(context: DatabaseContext, own: Attempt): DatabaseContext {
  return {
    ...context,
    status: (change) =>
      context.status((status) => {
        if (!isOwn(status, own)) throw leaseLost('cutover')
        return typeof change === 'function' ? change(status) : { ...status, ...change }
      }),
  }
}

/** From here on there is only forwards. */
export async function decide(context: DatabaseContext): Promise<void> {
  await context.status((status) => ({
    ...status,
    cutover: { ...status.cutover!, decidedAt: status.cutover!.decidedAt ?? new Date().toISOString() },
  }))
}

/** Whether an attempt may still be called off; one without a lease, since the target is away, needs no fence. */
export function mayCallOff(
  status: DatabaseStatus,
  own: Attempt | undefined,
): status is DatabaseStatus & { cutover: CutoverReport } {
  if (status.cutover === undefined || status.cutover.decidedAt !== undefined || isOver(status)) return false
  return own === undefined || isOwn(status, own)
}

function isOwn(status: DatabaseStatus, { attempt, fence }: Attempt): boolean {
  return !isOver(status) && !isLater(status, fence) && status.cutover?.startedAt === attempt
}

function isLater({ cutoverFence }: DatabaseStatus, fence: string): boolean {
  return BigInt(cutoverFence ?? 0) > BigInt(fence)
}

/** The migration of the database has ended, or is about to: nothing begins any more. */
export function isOver({ phase }: Pick<DatabaseStatus, 'phase'>): boolean {
  return phase === 'CleaningUp' || phase === 'Ended'
}
