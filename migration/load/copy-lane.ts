import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import type { Lease } from '../control/lease.ts'
import { errorText, isTransient, MigrationError, sqlState } from '../errors.ts'
import type { CopyPace } from './copy-pace.ts'
import { copyByRanges } from './copy-ranges.ts'
import { openCopySessions, type CopySessions } from './copy-session.ts'
import { copyTableGroup } from './copy-table-group.ts'
import { copyTable } from './copy-table.ts'
import { isDropped, leaveOutDropped } from './dropped-table.ts'
import type { ActiveCopy, LoadProgress } from './load-progress.ts'
import { takeNextCopies, type QueuedCopy } from './next-copies.ts'
import { keyOf, type PlannedCopy } from './planned-copy.ts'
import type { Snapshot } from './slot-snapshot.ts'
import { markErrored, markLoading, markQueued } from './table-copy.ts'

/** What the lanes of one activity have in common. */
export interface CopyRun {
  context: DatabaseContext
  /** A session in autocommit on the target. */
  control: Connection
  lease: Lease
  snapshot: Snapshot
  progress: LoadProgress
  pace: CopyPace
  /** Tables that nobody has begun; lanes take from its front. */
  queue: QueuedCopy[]
  /** Failed tries by table, over all snapshots of the activity. */
  failures: Map<string, number>
  counts: { copied: number; errored: number; ranges: number }
  /** Aborted when the copy has to end now: the host drains, the lease is lost. */
  signal: AbortSignal
}

/** A fifth failure in a row is no accident. */
const MAX_TABLE_TRIES = 5
const FIRST_PAUSE_MS = 500
const MAX_PAUSE_MS = 30_000

/** Disk full, and the read-only mode that a full disk brings about on Azure: no other table fares better. */
const FATAL_SQLSTATES = new Set(['53100', '25006'])

interface Lane {
  /** Names the connections; see endPredecessors. */
  purpose: string
  /** Open from the first table to the end, or to an error. */
  sessions?: CopySessions
}

/**
 * Copies tables of the queue one after the other over one pair of connections, until the queue is empty or the
 * signal is aborted. An abort cuts a copy under way: its table is copied anew by the next activity.
 */
export async function copyLane(run: CopyRun, purpose: string): Promise<void> {
  const lane: Lane = { purpose }
  const cut = (): void => void lane.sessions?.cut()
  run.signal.addEventListener('abort', cut)
  try {
    while (!run.signal.aborted) {
      const [next, ...more] = takeNextCopies(run.queue)
      if (next === undefined) return
      if (more.length === 0) await copyPlanned(run, lane, next)
      else await copyGroup(run, lane, [next, ...more])
    }
  } finally {
    run.signal.removeEventListener('abort', cut)
    await lane.sessions?.[Symbol.asyncDispose]()
  }
}

/** Copies small tables together; when anything is wrong with them, they are queued again, to be copied one by one. */
async function copyGroup(run: CopyRun, lane: Lane, group: QueuedCopy[]): Promise<void> {
  const sessions = (lane.sessions ??= await openSessions(run, lane.purpose))
  try {
    await copyTableGroup(sessions, group, { snapshot: run.snapshot, lease: run.lease, onBytes: run.pace })
    run.counts.copied += group.length
  } catch (error) {
    await sessions.cut()
    lane.sessions = undefined
    if (run.signal.aborted) return
    run.context.log.info('Small tables are copied one by one', { tables: group.length, error: errorText(error) })
    run.queue.unshift(...group.map((copy) => ({ ...copy, alone: true })))
  }
}

/** Tries one table until it is copied or given up. */
async function copyPlanned(run: CopyRun, lane: Lane, planned: QueuedCopy): Promise<void> {
  for (let freeze = true; !run.signal.aborted;) {
    // Servers that cannot be reached are no fault of this table: the activity as a whole waits for them.
    const sessions = (lane.sessions ??= await openSessions(run, lane.purpose))
    try {
      await copyOne(run, sessions, planned, freeze)
      return
    } catch (error) {
      await sessions.cut()
      lane.sessions = undefined
      if (run.signal.aborted) await putBack(run, planned, undefined)
      else if (freeze && isFreezeRefused(error)) freeze = false
      else if (!(await tryAgain(run, planned, error))) return
    }
  }
}

async function openSessions(run: CopyRun, purpose: string): Promise<CopySessions> {
  const sessions = await openCopySessions(run.context, purpose)
  try {
    // A drain that began while they were being opened has cut nothing.
    run.signal.throwIfAborted()
    await run.lease.addSession(sessions.writer)
    return sessions
  } catch (error) {
    await sessions.cut()
    throw error
  }
}

async function copyOne(run: CopyRun, sessions: CopySessions, planned: QueuedCopy, freeze: boolean): Promise<void> {
  const { table, format, ranges } = planned
  if (ranges > 1 && planned.method !== undefined) {
    await copyByRanges(run, sessions, planned, ranges)
    run.counts.copied += 1
    return
  }
  if (!(await markLoading(sessions.writer, run.lease, table))) {
    run.counts.copied += 1
    return
  }
  const active: ActiveCopy = { schema: table.schema, name: table.name, writerPid: sessions.writerPid, bytes: 0 }
  run.progress.active.add(active)
  try {
    await copyTable(sessions, table, {
      format,
      freeze,
      snapshot: run.snapshot.name,
      lsn: run.snapshot.lsn,
      lease: run.lease,
      onBytes: (bytes) => {
        active.bytes += bytes
        return run.pace(bytes)
      },
    })
    run.counts.copied += 1
  } finally {
    run.progress.active.delete(active)
  }
}

/**
 * Decides what a failure means: false when the table is given up, or left out since it was dropped.
 *
 * @throws what ends the lane: the lease or the snapshot is lost, the target takes no more
 */
async function tryAgain(run: CopyRun, { table }: Pick<PlannedCopy, 'table'>, error: unknown): Promise<boolean> {
  const state = sqlState(error) ?? sqlState((error as Error).cause)
  if (state !== undefined && FATAL_SQLSTATES.has(state)) {
    await putBack(run, { table }, errorText(error))
    throw new MigrationError('TargetFull', `The target takes no more data: ${errorText(error)}`, {
      hint: 'Give the target more storage and start the load again; completed tables are kept.',
      target: 'target',
      cause: error,
    })
  }
  if (error instanceof MigrationError && (error.code === 'LeaseLost' || error.code === 'SnapshotLost')) {
    await putBack(run, { table }, undefined)
    throw error
  }
  if (await isDropped(run.context, table, state)) {
    await leaveOutDropped(run.context, run.control, run.lease, table)
    return false
  }
  const key = keyOf(table)
  const failures = (run.failures.get(key) ?? 0) + 1
  run.failures.set(key, failures)
  if (isTransient(error) && failures < MAX_TABLE_TRIES) {
    run.context.log.warn('A table copy failed and is tried again', { table: key, failures, error: errorText(error) })
    await putBack(run, { table }, errorText(error))
    await pause(failures, run.signal)
    return true
  }
  run.counts.errored += 1
  await markErrored(run.control, run.lease, table, errorText(error))
  await run.context.event({ level: 'error', event: 'TableErrored', message: errorText(error) })
  return false
}

/** Best effort: a table that stays "loading" without anybody is copied all the same. */
async function putBack(
  run: CopyRun,
  { table }: Pick<PlannedCopy, 'table'>,
  message: string | undefined,
): Promise<void> {
  await markQueued(run.control, run.lease, table, message).catch(() => {})
}

/**
 * FREEZE needs a table that the same subtransaction has truncated, and no older snapshot or cursor in the session;
 * its refusals have no SQLSTATE of their own.
 */
function isFreezeRefused(error: unknown): boolean {
  return error instanceof MigrationError && /\bCOPY FREEZE\b/.test(error.message)
}

/** Waits longer after each failure; an abort ends it early. */
export async function pause(failures: number, signal: AbortSignal): Promise<void> {
  const ms = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), MAX_PAUSE_MS)
  await sleep(ms, undefined, { signal }).catch(() => {})
}
