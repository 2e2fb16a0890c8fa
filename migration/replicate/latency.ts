import type { Connection } from '../connect.ts'
import { parseLsn, type Lsn } from '../lsn.ts'

/**
 * Latency is the age of the oldest commit of the source that the target does not have, by the source's clock.
 *
 * Once a second the source is asked for its time and then for the end of its WAL: a mark. Whatever had been
 * committed at that time lies before the mark, also what synchronous_commit=off has not flushed yet. The stream
 * tells how far the source has read its WAL, by commits and by answers to pings, so:
 *
 * - the target has come to the mark: latency is 0, and nothing else makes it 0
 * - else, a commit has arrived and is not durable on the target: since commits arrive in their order, none that is
 *   missing is older: latency is its age, exactly. So it is while the target is paused or slow
 * - else, the missing commit is on its way or not yet read by the source: it is younger than the last mark that the
 *   target has come to: latency is the age of that mark, at most a second too much while there is a connection. The
 *   last mark outlives slices and outages in pgflex.source
 *
 * A transaction that has not been committed, of whatever size, counts for nothing: the source reads on past it. An
 * idle database on a busy server is at 0 for the same reason.
 *
 * Where WAL before the mark is not flushed, the source would not send it for a while, and a message of ours makes
 * it flush (see source-marks.ts); it speeds up the measurement and is not needed for it to be true. The messages are
 * not asked for in the stream: those of other programs, of any size, would come with them, and a ping tells the same.
 */
export interface SourceMark {
  /** ms since 1970 by the source's clock, taken before the LSNs. */
  time: number
  /** All that had been committed at that time lies before it. A standby has what it has replayed. */
  lsn: Lsn
  /** What is sent by now at most. */
  flushLsn: Lsn
  isStandby: boolean
}

/** One look at the source. */
export async function sampleSource(source: Connection): Promise<SourceMark> {
  const { rows } = await source.query<Record<'time' | 'standby' | 'flushed' | 'end' | 'block' | 'segment', string>>(
    `select extract(epoch from clock_timestamp()) as time,
            pg_is_in_recovery() as standby,
            case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end as end,
            case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end as flushed,
            current_setting('wal_block_size') as block,
            pg_size_bytes(current_setting('wal_segment_size')) as segment`,
  )
  const { time, standby, flushed, end, block, segment } = rows[0]!
  return {
    time: Number(time) * 1000,
    lsn: lastRecordEnd(parseLsn(end), BigInt(block), BigInt(segment)),
    flushLsn: parseLsn(flushed),
    isStandby: standby === 't',
  }
}

/** Bytes: SizeOfXLogShortPHD and SizeOfXLogLongPHD of access/xlog_internal.h, the latter at the start of a segment. */
const PAGE_HEADER = 24n
const SEGMENT_HEADER = 40n

/**
 * The end of the last record when the next one would begin at this LSN. They differ where a page has just been filled:
 * the next record would begin behind the header of the next page, and flushed WAL never ends there.
 */
export function lastRecordEnd(insertLsn: Lsn, blockBytes: bigint, segmentBytes: bigint): Lsn {
  if (insertLsn % segmentBytes === SEGMENT_HEADER) return insertLsn - SEGMENT_HEADER
  return insertLsn % blockBytes === PAGE_HEADER ? insertLsn - PAGE_HEADER : insertLsn
}

export interface LatencyInputs {
  mark: Pick<SourceMark, 'time' | 'lsn'>
  /** Everything that the source committed before it is durable on the target. */
  position: Lsn
  /** Commit time of the oldest transaction that has arrived and is not yet durable, ms. */
  oldestPendingCommit: number | undefined
  /** When, by the source's clock, the target is known to have had everything; undefined when never so far. */
  caughtUpAt: number | undefined
}

/** Seconds, at the time of the mark; undefined while nothing is known. */
export function latencySeconds({ mark, position, oldestPendingCommit, caughtUpAt }: LatencyInputs): number | undefined {
  if (position >= mark.lsn) return 0
  // A commit that arrived after the mark was taken was not missing then.
  const since = oldestPendingCommit ?? caughtUpAt
  return since === undefined ? undefined : Math.max(0, mark.time - since) / 1000
}
