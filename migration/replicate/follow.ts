import type { DatabaseContext } from '../context.ts'
import { errorText } from '../errors.ts'
import { removeLeftWayBack } from '../fallback/way-back.ts'
import { isAsked } from '../model/record.ts'
import { readDatabaseStatus, readRecord } from '../store/migrations.ts'
import { VerificationAlongside } from '../verify/verification-alongside.ts'
import { carryNewTables } from './new-tables/carry-new-tables.ts'
import { replanStatements } from './schema-change/replan-statements.ts'
import { replicateSlice } from './replicate-slice.ts'

/** ms; a slice makes the cost of its start small and lets the platform move it: 20 to 60 s. */
const SLICE_MS = 30_000

/**
 * Follows the source for one slice.
 *
 * @returns next: cutover when the user has asked for it, busy when another copy is at work, else slice
 */
export async function follow(context: DatabaseContext): Promise<{ next: 'slice' | 'cutover' | 'busy' }> {
  // A cutover that is being called off goes on with that at once: applications wait for it.
  const { calledOff } = await readDatabaseStatus(context.documents, context.key, context.database)
  if (calledOff) return { next: 'cutover' }
  await removeLeftWayBack(context)
  await using verification = new VerificationAlongside(context)
  let announced = false
  const next = await followForASlice(context, async () => {
    announced ||= await announceReady(context)
    const record = await readRecord(context.documents, context.key)
    if (!record) return false
    verification.start(record)
    return isAsked(record, 'cutover', context.database)
  })
  return { next: next === 'command' ? 'cutover' : next }
}

/**
 * Takes new tables along, and follows for one slice.
 *
 * @param onCommand asked every half second; true ends the slice
 */
export async function followForASlice(
  context: DatabaseContext,
  onCommand: () => Promise<boolean>,
): Promise<'slice' | 'command' | 'busy'> {
  const { phase } = await context.status((status) =>
    // A copy of this activity that stood still, and wakes up when all is over.
    status.phase === 'CleaningUp' || status.phase === 'Ended' ? status : { ...status, phase: 'Following' },
  )
  if (phase !== 'Following') return 'busy'
  if (!(await carryNewTables(context))) return 'slice'
  await replanStatements(context).catch((error: unknown) => {
    // It is tried again before the next slice; the cutover insists on it.
    context.log.warn('What waits for the cutover could not be read anew', { error: errorText(error) })
  })
  const { reason } = await replicateSlice(context, { ms: context.sliceMs ?? SLICE_MS, onCommand })
  return reason === 'busy' || reason === 'command' ? reason : 'slice'
}

/** A cutover may be asked for once the latency is known. */
async function announceReady(context: DatabaseContext): Promise<boolean> {
  const { migrationState } = await context.status((status) =>
    status.latencySeconds === undefined ? status : { ...status, migrationState: 'WaitingForCutoverTrigger' },
  )
  return migrationState === 'WaitingForCutoverTrigger'
}
