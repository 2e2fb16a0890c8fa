import type { Connection } from '../connect.ts'
import { parseLsn, type Lsn } from '../lsn.ts'

/** Where the source was, by its own clock. */
export interface SourceSample {
  /** All that is durably committed there lies before it. */
  flushLsn: Lsn
  /** ms since 1970 */
  time: number
}

/** One look at the source. A standby that is decoded has what it has replayed. */
export async function sampleSource(source: Connection): Promise<SourceSample> {
  const { rows } = await source.query<{ lsn: string; time: string }>(
    `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end as lsn,
            extract(epoch from clock_timestamp()) as time`,
  )
  return { flushLsn: parseLsn(rows[0]!.lsn), time: Number(rows[0]!.time) * 1000 }
}

export interface LatencyInputs {
  sample: SourceSample
  /** Everything that the source committed before it is durable on the target. */
  position: Lsn
  /** Commit time of the oldest transaction that has arrived and is not yet durable, ms. */
  oldestPendingCommit: number | undefined
  /** When, by the source's clock, the target is known to have had everything; undefined when never so far. */
  caughtUpAt: number | undefined
}

/**
 * Seconds since the oldest commit of the source that the target does not have, at the time of the sample, by
 * the source's clock. 0 means that the target has everything: it has reached the source's flush LSN of that time.
 *
 * Exact when that commit has arrived, because commits arrive in their order. When nothing has arrived although
 * the source is ahead, that commit is younger than the last time when the target had everything, so it is the
 * time since then, which is never too little. Undefined while there is no such time.
 */
export function latencySeconds(inputs: LatencyInputs): number | undefined {
  const { sample, position, oldestPendingCommit, caughtUpAt } = inputs
  if (position >= sample.flushLsn) return 0
  // A commit that arrived after the sample was taken was not missing then.
  const since = oldestPendingCommit ?? caughtUpAt
  return since === undefined ? undefined : Math.max(0, sample.time - since) / 1000
}
