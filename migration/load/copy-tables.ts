import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { errorText, isTransient, MigrationError } from '../errors.ts'
import { watchSlot } from '../replicate/retained-wal-watch.ts'
import { sourceObjects } from '../replicate/slot-name.ts'
import { admitCopy } from '../replicate/source-admission.ts'
import { copyLane, pause, type CopyRun } from './copy-lane.ts'
import { activityPace, copyPace, type CopyPace } from './copy-pace.ts'
import { rangeHelper } from './copy-ranges.ts'
import { endPredecessors } from './copy-session.ts'
import { leaveOutDropped } from './dropped-table.ts'
import { reportInterrupted } from './interrupted-tables.ts'
import { startLoadProgress } from './load-progress.ts'
import { offlineStreams } from './load-jobs.ts'
import type { QueuedCopy } from './next-copies.ts'
import { exportOfflineSnapshot } from './offline-snapshot.ts'
import { keyOf, planCopies } from './planned-copy.ts'
import { exportSlotSnapshot } from './slot-snapshot.ts'
import { clearMessage } from './slot-wait.ts'
import { durableOutcome, openBatches, openTables, requeueAll, type OpenTable } from './table-copy.ts'

export interface CopyResult {
  /** Tables that this activity has copied. */
  copied: number
  /** Tables of the database that were given up, by whomever; pgflex.table_copy has the reasons. */
  errored: number
  /** Tables of the database that are neither completed nor given up: others are at work on them, or the host drains. */
  remaining: number
}

/** Pauses of 0.5 s to 30 s: some five minutes in which nothing works, for instance no replication slot is free. */
const MAX_FAILURES_IN_A_ROW = 15

/**
 * One copy activity: copies the tables of the plan, batch by batch, until no batch is left that nobody else
 * holds. Any number of them may run at once, anywhere, and die at any moment.
 *
 * Offline, the activity of worker 0 copies everything under one snapshot, and the others do nothing.
 *
 * @throws {MigrationError} when nothing works for minutes (retryable), or the target is full
 */
export async function copyTables(context: DatabaseContext, { worker }: { worker: number }): Promise<CopyResult> {
  const activity: Activity = {
    context,
    worker,
    counts: { copied: 0, errored: 0, ranges: 0 },
    failures: new Map(),
    pace: copyPace(undefined),
  }
  const offline = context.record.properties.migrationMode === 'Offline'
  await using _slot = offline || worker !== 0 ? undefined : watchSlot(context)
  let message: string | undefined
  for (let failed = 0, done = offline && worker !== 0; !done && !context.draining.aborted;) {
    const before = settled(activity)
    try {
      activity.pace = await activityPace(context)
      await (offline ? copyOffline(activity) : copyBatches(activity))
      done = true
    } catch (error) {
      if (context.draining.aborted) break
      failed = settled(activity) > before ? 1 : failed + 1
      if (!isTransient(error) || failed >= MAX_FAILURES_IN_A_ROW) throw error
      context.log.warn('The load was interrupted and goes on', { worker, failed, error: errorText(error) })
      if (error instanceof MigrationError && error.code === 'NoFreeSlot') {
        message = `${error.message} ${error.hint}`
        await context.status({ message })
      }
      await pause(failed, context.draining)
    }
  }
  if (message !== undefined) await clearMessage(context, message)
  await using target = await context.target('copy result')
  return { copied: activity.counts.copied, ...(await durableOutcome(target)) }
}

interface Activity {
  context: DatabaseContext
  worker: number
  counts: CopyRun['counts']
  failures: CopyRun['failures']
  pace: CopyPace
}

/** Grows while the load gets on. */
function settled({ counts }: Activity): number {
  return counts.copied + counts.errored + counts.ranges
}

/** Online: each batch under the snapshot of a slot of its own; then ranges of the large tables of others. */
async function copyBatches(activity: Activity): Promise<void> {
  const { context, worker } = activity
  const { slot } = sourceObjects(context.key, context.database)
  await using leasing = await context.target(`copy-lease ${worker}`)
  await using control = await context.target(`copy-control ${worker}`)
  await using progress = await startLoadProgress(context, control)
  await using helper = rangeHelper({ ...activity, progress, signal: context.draining }, worker)
  while (!context.draining.aborted) {
    const claimed = await claimBatch(control, leasing)
    if (!claimed) {
      if (await helper.help()) continue
      return
    }
    await using lease = claimed.lease
    const signal = AbortSignal.any([context.draining, lease.lost])
    await endPredecessors(control, lease.name)
    await reportInterrupted(context, control, claimed.batch)
    await using snapshot = await exportSlotSnapshot(context, lease.name, signal, (walsender) =>
      admitCopy(walsender, control, slot),
    )
    const run: CopyRun = { ...activity, control, lease, snapshot, progress, signal, queue: [] }
    run.queue.push(...(await queueCopies(run, await openTables(control, claimed.batch))))
    await copyLane(run, lease.name)
    if (lease.lost.aborted) throw lease.lost.reason
  }
}

/** The first batch that is not done and that nobody else holds. */
async function claimBatch(
  control: Connection,
  leasing: Connection,
): Promise<{ batch: number; lease: Lease } | undefined> {
  for (const batch of await openBatches(control)) {
    const lease = await acquireLease(leasing, `copy-batch-${batch}`)
    if (!lease) continue
    // Its last holder may have completed it since we looked.
    if ((await openTables(control, batch)).length > 0) return { batch, lease }
    await lease[Symbol.asyncDispose]()
  }
  return undefined
}

/**
 * Offline: everything is of one moment. What an activity before has copied under a snapshot that is gone is of
 * another moment, so it is copied again, unless it was all there is.
 */
async function copyOffline(activity: Activity): Promise<void> {
  const { context } = activity
  await using leasing = await context.target('copy-lease offline')
  await using control = await context.target('copy-control offline')
  await using lease = await acquireLease(leasing, 'copy-offline')
  if (!lease || (await openTables(control)).length === 0) return
  await endPredecessors(control, lease.name)
  await reportInterrupted(context, control)
  const failed = new AbortController()
  const signal = AbortSignal.any([context.draining, lease.lost, failed.signal])
  await using snapshot = await exportOfflineSnapshot(context)
  await requeueAll(control, lease)
  await using progress = await startLoadProgress(context, control)
  const run: CopyRun = { ...activity, control, lease, snapshot, progress, signal, queue: [] }
  run.queue.push(...(await queueCopies(run, await openTables(control))))
  const lanes = Array.from({ length: await offlineStreams(context) }, (_, lane) => lane)
  const ended = await Promise.allSettled(
    lanes.map(async (lane) => {
      await using helper = rangeHelper(run, lane)
      try {
        await copyLane(run, `${lease.name} ${lane}`)
        while (!signal.aborted && (await helper.help()));
      } catch (error) {
        // What ends one lane ends them all: the others would go on under a snapshot that does not count.
        failed.abort()
        throw error
      }
    }),
  )
  for (const lane of ended) if (lane.status === 'rejected') throw lane.reason
  if (lease.lost.aborted) throw lease.lost.reason
}

/** What is to be done, in the order of the plan; tables that the source no longer has are left out. */
async function queueCopies(run: CopyRun, tables: OpenTable[]): Promise<QueuedCopy[]> {
  const planned = new Map((await planCopies(run.context, run.control, tables)).map((copy) => [keyOf(copy.table), copy]))
  const queued: QueuedCopy[] = []
  for (const table of tables) {
    const copy = planned.get(keyOf(table))
    if (copy) queued.push({ ...copy, ranges: table.ranges, bytes: table.bytes })
    else await leaveOutDropped(run.context, run.control, run.lease, table)
  }
  return queued
}
