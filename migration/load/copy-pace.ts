import type { DatabaseContext } from '../context.ts'
import { readLoadWidth } from './load-jobs.ts'

/** Told of each piece of a stream, says how long that stream should wait before the next one, ms. */
export type CopyPace = (bytes: number) => number

/** Shorter waits are saved up: a timer is not more exact than that. */
const MIN_WAIT_MS = 20
/** A stream that had nothing to send for a while may catch up no more than this. */
const MAX_CREDIT_MS = 100

/**
 * Keeps the streams of one activity below a rate, together.
 *
 * @param bytesPerSecond undefined: as fast as the servers can
 * @param now ms
 */
export function copyPace(bytesPerSecond: number | undefined, now: () => number = () => performance.now()): CopyPace {
  if (bytesPerSecond === undefined) return () => 0
  /** When everything that was told so far should have been sent. */
  let due = now()
  return (bytes) => {
    due = Math.max(due, now() - MAX_CREDIT_MS) + (bytes * 1000) / bytesPerSecond
    const wait = due - now()
    return wait < MIN_WAIT_MS ? 0 : wait
  }
}

/**
 * The share of one activity in the rate that the user allows. All databases of the migration may be loaded at once, and
 * activities know nothing of each other: each gets the same part, whether the others use theirs or not.
 */
export async function activityPace(context: DatabaseContext): Promise<CopyPace> {
  const { pgflex, dbsToMigrate } = context.record.properties
  const rate = pgflex.maxCopyBytesPerSecond
  if (rate === undefined) return copyPace(undefined)
  await using target = await context.target('copy pace')
  return copyPace(rate / Math.max(dbsToMigrate.length, 1) / (await readLoadWidth(target)))
}
