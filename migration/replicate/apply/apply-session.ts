import type { Connection } from '../../connect.ts'
import { sqlState } from '../../errors.ts'

const INSUFFICIENT_PRIVILEGE = '42501'
/** ms for a session to end by itself: one that waits for a lock does not. */
const END_MS = 1_000

/** Settings of the session that applies. */
export async function prepareApplySession(session: Connection): Promise<void> {
  // What is acknowledged to the source must survive a crash of the target, whatever its default is.
  await session.query('set synchronous_commit = on')
  // The statements are large and simple: compiling them costs more than it gives.
  await session.query('set jit = off')
  // Rows are found through the key's index. Left to itself, the planner reads a table of a few million rows whole
  // for each ten thousand keys; where there is no index, it still does.
  await session.query('set enable_seqscan = off; set enable_mergejoin = off; set random_page_cost = 1')
  // The same statements come again and again, with arrays of which the planner knows nothing in any case: their plan
  // is made once. https://www.postgresql.org/docs/current/sql-prepare.html#SQL-PREPARE-NOTES
  await session.query('set plan_cache_mode = force_generic_plan')
  try {
    // Nothing fires before cutover in any case; where the role may set it, it holds also for what users add.
    await session.query('set session_replication_role = replica')
  } catch (error) {
    if (sqlState(error) !== INSUFFICIENT_PRIVILEGE) throw error
  }
  sendWithoutWaiting(session)
}

/**
 * From now on queries of the session go out without waiting for the results of those before. Call it while
 * none is under way: the types have the property read-only for that reason.
 */
export function sendWithoutWaiting(session: Connection): void {
  ;(session as { pipeline: boolean }).pipeline = true
}

/** Breaks a session off, whatever it is doing: its open transaction is rolled back. */
export function breakOff(session: Connection): void {
  session.connection.stream.destroy()
}

/** Ends a session, by force when it does not end by itself. */
export async function endSession(session: Connection): Promise<void> {
  const timer = setTimeout(() => breakOff(session), END_MS)
  await session.end().catch(() => {})
  clearTimeout(timer)
}
