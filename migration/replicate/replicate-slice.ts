import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { sqlState } from '../errors.ts'
import type { TableName } from '../load/tables.ts'
import { formatLsn, type Lsn } from '../lsn.ts'
import { readDatabaseStatus } from '../store/migrations.ts'
import { Applier } from './apply/applier.ts'
import { breakOff, endSession, prepareApplySession, sendWithoutWaiting } from './apply/apply-session.ts'
import { total } from './apply/change-counts.ts'
import { applyRefused, refusedTable } from './apply/refusal.ts'
import type { ApplyOrder } from './apply/table-plan.ts'
import { StatementRefused, TargetTransaction } from './apply/target-transaction.ts'
import { TargetTables } from './apply/target-tables.ts'
import { FollowWarnings } from './follow-warnings.ts'
import { requirePublications } from './made-publications.ts'
import { readProgress } from './progress.ts'
import { SchemaChanges } from './schema-change/schema-changes.ts'
import { UnshownChanges } from './schema-change/unshown-changes.ts'
import { isUsable, readSlot, slotLost } from './replication-slot.ts'
import { openReplicationStream, type StreamMessage } from './replication-stream.ts'
import { SliceEnd, type SliceReason } from './slice-end.ts'
import { pause, SliceReport } from './slice-report.ts'
import { sourceObjects } from './slot-name.ts'
import { readTablePoints } from './table-points.ts'

export interface SliceOptions {
  /** How long to follow, ms. A transaction that has begun to arrive is finished first. */
  ms: number
  /** End as soon as everything that the source committed before this LSN is on the target. */
  until?: Lsn
  /** Asked every half second; true ends the slice. */
  onCommand?: () => Promise<boolean>
}

export interface SliceResult {
  ok: true
  /** busy: another copy of this activity follows. */
  reason: SliceReason | 'busy'
  /** Everything that the source committed before it is on the target. */
  appliedLsn: string
  /** Row changes applied in this slice. */
  changes: number
  /** Infinity as long as it is not known. */
  latencySeconds: number
  lagBytes: number
}

const UNDEFINED_OBJECT = '42704'
const LOCK_NOT_AVAILABLE = '55P03'
/** For reading the source's catalog, while somebody alters a table there. */
const SOURCE_LOCK_TIMEOUT = '1s'

/** ms for the transaction that is arriving to end when the host wants to stop; then it is left for the next slice. */
const DRAIN_MS = 5_000
/** ms without messages after which the loop looks around. */
const READ_MS = 250
/** ms between questions to an idle source for how far it has sent, when there is a place to reach. */
const HURRY_MS = 20
/** ms at the end of a slice to come to the place where the source's catalog was read, if tables differ there. */
const CATALOG_MS = 2_000

/**
 * Applies what the source commits for about `ms`. All that has happened is in the target: call it again, after
 * whatever end.
 *
 * @throws {MigrationError} SlotLost, PublicationMissing, ApplyRefused, SchemaChanged, TablesNotCopied …; LeaseLost and lost
 *   connections (retryable)
 */
export async function replicateSlice(context: DatabaseContext, options: SliceOptions): Promise<SliceResult> {
  const { slot } = sourceObjects(context.key, context.database)
  await using leaseSession = await context.target('replicate lease')
  await using lease = await acquireLease(leaseSession, 'replicate')
  if (!lease) return await busy(context, formatLsn((await readProgress(leaseSession, slot)).appliedLsn))

  await using source = await context.source('replicate')
  await using catalog = await context.target('replicate catalog')
  await source.query(`set lock_timeout = '${SOURCE_LOCK_TIMEOUT}'`)
  sendWithoutWaiting(source)
  sendWithoutWaiting(catalog)
  await using session = await openApplySession(context, lease)
  const report = new SliceReport(context, source, catalog, slot)
  using end = new SliceEnd(context, options)
  // A statement that waits for a lock would hold up everything.
  using _watch = onAbort(lease.lost, () => breakOff(session))
  using _drain = onAbort(context.draining, () => setTimeout(() => breakOff(session), DRAIN_MS).unref())

  const slice: Slice = { context, lease, source, catalog, session, report, end, orders: new Map(), changes: 0 }
  let reason: SliceReason | undefined
  while (reason === undefined) {
    try {
      reason = await follow(slice)
    } catch (error) {
      lease.lost.throwIfAborted()
      if (context.draining.aborted) reason = 'draining'
      else keepOrder(slice, error)
    }
  }
  const { following } = report
  return {
    ok: true,
    reason,
    appliedLsn: formatLsn(following?.applier.position ?? (await readProgress(catalog, slot)).appliedLsn),
    changes: slice.changes,
    latencySeconds: report.latencySeconds ?? Infinity,
    lagBytes: report.lagBytes ?? 0,
  }
}

interface Slice {
  context: DatabaseContext
  lease: Lease
  source: Connection
  catalog: Connection
  session: Connection
  report: SliceReport
  end: SliceEnd
  /** Tables where the usual statements were refused. */
  orders: Map<string, ApplyOrder>
  changes: number
}

/** A refused group has left nothing behind: its changes are read again, and written closer to how the source did. */
function keepOrder({ orders, context }: Slice, error: unknown): void {
  if (!(error instanceof StatementRefused)) throw error
  const table = refusedTable(error)
  const order = table === undefined ? 'rowByRow' : orders.get(table)
  if (table === undefined || order === 'rowByRow') throw applyRefused(error)
  context.log.info('Changes of a table are applied in the order of the source', { table, reason: error.message })
  orders.set(table, order === undefined ? 'inOrder' : 'rowByRow')
}

/** Follows on one stream until the slice is to end. */
async function follow(slice: Slice): Promise<SliceReason> {
  const { context, lease, source, catalog, session, report, end, orders } = slice
  const names = sourceObjects(context.key, context.database)
  const [progress, points] = [await readProgress(catalog, names.slot), await readTablePoints(catalog)]
  const state = await readSlot(source, names.slot)
  if (!isUsable(state)) throw slotLost(names.slot, state)
  await using stream = await openReplicationStream(context, {
    slot: names.slot,
    publications: await requirePublications(source, catalog, names),
    startLsn: progress.appliedLsn,
    source,
  })
  const warnings = new FollowWarnings(context)
  const transaction = new TargetTransaction(session, lease, names.slot)
  const onCarried = (table: TableName, steps: string[]): void => warnings.carried(table, steps)
  const changes = new SchemaChanges({ source, catalog, session, transaction, onCarried })
  const unshown = new UnshownChanges({
    source,
    catalog,
    transaction,
    changes,
    onCarried,
    onRefused(error) {
      // Whoever has a place to reach wants all of it; else the change waits for its first row.
      if (end.until !== undefined) throw error
      warnings.refused(error)
    },
  })
  const applier = new Applier({
    stream,
    tables: new TargetTables({ catalog, points, orders, changes }),
    transaction,
    appliedLsn: progress.appliedLsn,
    onIgnored: (table) => warnings.ignored(table),
    onMissed: (missed) => {
      following.missed += missed.rows
      warnings.missed(missed)
    },
  })
  const following = { stream, applier, progress, missed: 0, warnings }
  report.following = following
  end.onEnd = () => stream.wake()
  using _lost = onAbort(lease.lost, () => stream.wake())

  const reporting = new AbortController()
  let reportFailure: { error: unknown } | undefined
  let catalogLimit = Infinity
  // What is read and not handled when the end has come is handled after all if it is not the end yet.
  let messages: StreamMessage[] = []
  let next = 0
  const reported = report.run(reporting.signal).catch((error: unknown) => {
    reportFailure = { error }
    stream.wake()
  })
  try {
    for (;;) {
      lease.lost.throwIfAborted()
      if (reportFailure) throw (reportFailure as { error: unknown }).error
      if (next === messages.length) {
        messages = await stream.read(end.until === undefined ? READ_MS : HURRY_MS)
        next = 0
      }
      while (next < messages.length) {
        const message = messages[next++]!
        const pending = applier.handle(message)
        if (pending) await pending
        if (message.kind === 'commit' && end.reason(applier.position) !== undefined) break
      }
      await applier.writeWhenIdle()
      if (end.reason(applier.position) !== undefined && applier.atBoundary) {
        await applier.finish()
        // Everything that was read is applied now, which may be all that was to be reached.
        const reason = end.reason(applier.position)!
        catalogLimit = Math.min(catalogLimit, performance.now() + CATALOG_MS)
        const brought = reason === 'draining' || (await bringUnshown(unshown, applier.position, end))
        if (!brought && (reason === 'reached' || reason === 'time') && performance.now() < catalogLimit) {
          stream.ping()
          continue
        }
        reporting.abort()
        await reported
        await report.look()
        // PostgreSQL 18 goes on without a publication that is dropped under way.
        await requirePublications(source, catalog, names)
        return reason
      }
      if (end.until !== undefined && applier.isIdle) stream.ping()
    }
  } catch (error) {
    // What pgoutput says of a publication that it does not find, before PostgreSQL 18.
    if (sqlState(error) === UNDEFINED_OBJECT) await requirePublications(source, catalog, names)
    throw error
  } finally {
    reporting.abort()
    slice.changes += total(applier.applied)
    await Promise.race([Promise.all([reported, warnings.stored()]), pause(1_000)])
  }
}

/** @throws whatever is in the way, for those who want all of it; else it can wait */
async function bringUnshown(unshown: UnshownChanges, position: Lsn, { until }: SliceEnd): Promise<boolean> {
  try {
    return await unshown.bring(position)
  } catch (error) {
    if (until !== undefined || sqlState(error) !== LOCK_NOT_AVAILABLE) throw error
    return true
  }
}

/** The session that writes: its lease ends it if this process is frozen, and it can be broken off at any time. */
async function openApplySession(context: DatabaseContext, lease: Lease): Promise<Connection> {
  const session = await context.target('apply')
  try {
    await prepareApplySession(session)
    await lease.addSession(session)
  } catch (error) {
    await endSession(session)
    throw error
  }
  return Object.assign(session, { [Symbol.asyncDispose]: () => endSession(session) })
}

async function busy(context: DatabaseContext, appliedLsn: string): Promise<SliceResult> {
  const status = await readDatabaseStatus(context.documents, context.key, context.database)
  return {
    ok: true,
    reason: 'busy',
    appliedLsn,
    changes: 0,
    latencySeconds: status.latencySeconds ?? Infinity,
    lagBytes: status.lagBytes ?? 0,
  }
}

/** Calls back when the signal is aborted, also when it is already, until the end of the block. */
function onAbort(signal: AbortSignal, callback: () => void): Disposable {
  if (signal.aborted) callback()
  else signal.addEventListener('abort', callback)
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', callback) }
}
