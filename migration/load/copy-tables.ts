import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { errorText, isTransient, MigrationError } from '../errors.ts'
import { copyFormat, serverFacts } from './copy-format.ts'
import { copyLane, pause, type CopyRun, type PlannedCopy } from './copy-lane.ts'
import { endPredecessors } from './copy-session.ts'
import { leaveOutDropped } from './dropped-table.ts'
import { reportInterrupted } from './interrupted-tables.ts'
import { startLoadProgress } from './load-progress.ts'
import { offlineStreams } from './load-jobs.ts'
import { exportOfflineSnapshot } from './offline-snapshot.ts'
import { exportSlotSnapshot } from './slot-snapshot.ts'
import { clearMessage } from './slot-wait.ts'
import { durableOutcome, openBatches, openTables, requeueAll } from './table-copy.ts'
import { listTables, type TableName } from './tables.ts'

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
  const activity: Activity = { context, worker, counts: { copied: 0, errored: 0 }, failures: new Map() }
  const offline = context.record.properties.migrationMode === 'Offline'
  let message: string | undefined
  for (let failed = 0, done = offline && worker !== 0; !done && !context.draining.aborted;) {
    const before = activity.counts.copied + activity.counts.errored
    try {
      await (offline ? copyOffline(activity) : copyBatches(activity))
      done = true
    } catch (error) {
      if (context.draining.aborted) break
      failed = activity.counts.copied + activity.counts.errored > before ? 1 : failed + 1
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
}

/** Online: each batch under the snapshot of a slot of its own. */
async function copyBatches(activity: Activity): Promise<void> {
  const { context, worker } = activity
  await using leasing = await context.target(`copy-lease ${worker}`)
  await using control = await context.target(`copy-control ${worker}`)
  await using progress = await startLoadProgress(context, control)
  while (!context.draining.aborted) {
    const claimed = await claimBatch(control, leasing)
    if (!claimed) return
    await using lease = claimed.lease
    const signal = AbortSignal.any([context.draining, lease.lost])
    await endPredecessors(control, lease.name)
    await reportInterrupted(context, control, claimed.batch)
    await using snapshot = await exportSlotSnapshot(context, lease.name, signal)
    const run: CopyRun = { ...activity, control, lease, snapshot, progress, signal, queue: [] }
    run.queue.push(...(await planCopies(run, await openTables(control, claimed.batch))))
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
  run.queue.push(...(await planCopies(run, await openTables(control))))
  const lanes = Array.from({ length: await offlineStreams(context) }, (_, lane) => lane)
  const ended = await Promise.allSettled(
    lanes.map((lane) =>
      // What ends one lane ends them all: the others would go on under a snapshot that does not count.
      copyLane(run, `${lease.name} ${lane}`).catch((error) => {
        failed.abort()
        throw error
      }),
    ),
  )
  for (const lane of ended) if (lane.status === 'rejected') throw lane.reason
  if (lease.lost.aborted) throw lease.lost.reason
}

/** Looks up what the tables are made of, on both sides; those that the source no longer has are left out. */
async function planCopies(run: CopyRun, names: TableName[]): Promise<PlannedCopy[]> {
  const everything = (): boolean => true
  await using source = await run.context.source('copy plan')
  const tables = await listTables(source, everything, names)
  const targetTables = byName(await listTables(run.control, everything, names))
  const [sourceServer, targetServer] = [await serverFacts(source), await serverFacts(run.control)]
  const found = byName(tables)
  const planned: PlannedCopy[] = []
  for (const name of names) {
    const table = found.get(keyOf(name))
    if (table) {
      planned.push({ table, format: copyFormat(table, targetTables.get(keyOf(name)), sourceServer, targetServer) })
    } else {
      await leaveOutDropped(run.context, run.control, run.lease, name)
    }
  }
  return planned
}

const keyOf = ({ schema, name }: TableName): string => JSON.stringify([schema, name])

function byName<T extends TableName>(tables: readonly T[]): Map<string, T> {
  return new Map(tables.map((table) => [keyOf(table), table]))
}
