import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { errorText, sqlState } from '../errors.ts'
import { formatLsn, type Lsn } from '../lsn.ts'
import { readDatabaseStatus } from '../store/migrations.ts'
import { Applier } from './apply/applier.ts'
import { Acknowledgement } from './acknowledgement.ts'
import { breakOff, endSession, prepareApplySession, sendWithoutWaiting } from './apply/apply-session.ts'
import { total } from './apply/change-counts.ts'
import { applyRefused, refusedTable } from './apply/refusal.ts'
import { TextRequired, type ApplyOrder } from './apply/table-plan.ts'
import { StatementRefused, TargetTransaction } from './apply/target-transaction.ts'
import { TargetTables } from './apply/target-tables.ts'
import { FollowWarnings } from './follow-warnings.ts'
import { requirePublications } from './made-publications.ts'
import { readProgress } from './progress.ts'
import { recordAcknowledged } from './followed-source.ts'
import { SliceEnd, type SliceReason } from './slice-end.ts'
import { pause, SliceReport } from './slice-report.ts'
import { sourceObjects } from './slot-name.ts'
import { openFollowedSource } from './open-followed-source.ts'
import { namingTroubles } from './source-trouble.ts'
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

/** ms for the transaction that is arriving to end when the host wants to stop; then it is left for the next slice. */
const DRAIN_MS = 5_000
/** ms without messages after which the loop looks around. */
const READ_MS = 250
/** ms between questions to an idle source for how far it has sent, when there is a place to reach. */
const HURRY_MS = 20

/**
 * Applies what the source commits for about `ms`. All that has happened is in the target: call it again, after
 * whatever end.
 *
 * @throws {MigrationError} as slotTrouble(), continuation() and sourceTrouble(); PublicationMissing, ApplyRefused,
 *   SchemaChanged, TablesNotCopied …; LeaseLost and lost connections (retryable)
 */
export async function replicateSlice(context: DatabaseContext, options: SliceOptions): Promise<SliceResult> {
  const { slot } = sourceObjects(context.key, context.database)
  await using leaseSession = await context.target('replicate lease')
  await using lease = await acquireLease(leaseSession, 'replicate')
  if (!lease) return await busy(context, formatLsn((await readProgress(leaseSession, slot)).appliedLsn))
  try {
    return await followUnder(lease, context, options)
  } catch (error) {
    if (!lease.lost.aborted) await forgetLatency(context)
    throw error
  }
}

async function followUnder(lease: Lease, context: DatabaseContext, options: SliceOptions): Promise<SliceResult> {
  const { slot } = sourceObjects(context.key, context.database)
  await using source = endingByForce(namingTroubles(await context.source('replicate')))
  await using catalog = await context.target('replicate catalog')
  // What is recorded before the source is told must survive a crash of the target, whatever its default is.
  await catalog.query('set synchronous_commit = on')
  sendWithoutWaiting(catalog)
  await using session = await openApplySession(context, lease)
  const report = new SliceReport(context, source, catalog, slot)
  using end = new SliceEnd(context, options)
  // A statement that waits for a lock would hold up everything.
  using _watch = onAbort(lease.lost, () => breakOff(session))
  using _drain = onAbort(context.draining, () => setTimeout(() => breakOff(session), DRAIN_MS).unref())

  const slice: Slice = {
    context,
    lease,
    source,
    catalog,
    session,
    report,
    end,
    orders: new Map(),
    textRequired: false,
    changes: 0,
  }
  let reason: SliceReason | undefined
  while (reason === undefined) {
    try {
      reason = await follow(slice)
    } catch (error) {
      lease.lost.throwIfAborted()
      if (context.draining.aborted) reason = 'draining'
      else fallBack(slice, error)
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
  /** Binary values have been found not to serve. */
  textRequired: boolean
  changes: number
}

/**
 * Goes on in a slower way where the fastest one does not serve. What was not committed has left nothing behind: its
 * changes are read again, as text, or written closer to how the source did.
 */
function fallBack(slice: Slice, error: unknown): void {
  const { orders, context } = slice
  if (error instanceof TextRequired) {
    context.log.info('Changes are read as text', { database: context.database, reason: error.message })
    slice.textRequired = true
    return
  }
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
  const opened = await openFollowedSource(context, { source, catalog, names, progress, asText: slice.textRequired })
  await using stream = opened.stream
  const { binary } = opened
  const { history, acknowledgedLsn, caughtUpAt } = opened.followed
  report.caughtUpAt = caughtUpAt
  const record = (lsn: Lsn): Promise<boolean> =>
    recordAcknowledged(catalog, names.slot, { history, lsn, caughtUpAt: report.caughtUpAt ?? caughtUpAt })
  using acknowledgement = new Acknowledgement({
    stream,
    recorded: acknowledgedLsn,
    record,
    onError: (error) =>
      context.log.warn('The acknowledged place could not be recorded', {
        database: context.database,
        error: errorText(error),
      }),
  })
  const transaction = new TargetTransaction(session, lease, names.slot)
  const warnings = new FollowWarnings(context)
  const applier = new Applier({
    stream: { acknowledge: (lsn) => acknowledgement.acknowledge(lsn), wake: () => stream.wake() },
    tables: new TargetTables({ catalog, points, orders, binary }),
    transaction: {
      async write(statements, groupEnd) {
        const missed = await transaction.write(statements, groupEnd)
        if (groupEnd) acknowledgement.committed(groupEnd.endLsn)
        return missed
      },
    },
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
  const reported = report.run(reporting.signal).catch((error: unknown) => {
    reportFailure = { error }
    stream.wake()
  })
  try {
    for (;;) {
      lease.lost.throwIfAborted()
      if (reportFailure) throw (reportFailure as { error: unknown }).error
      for (const message of await stream.read(end.until === undefined ? READ_MS : HURRY_MS)) {
        const pending = applier.handle(message)
        if (pending) await pending
        if (message.kind === 'commit' && end.reason(applier.position) !== undefined) break
      }
      await applier.writeWhenIdle()
      if (end.reason(applier.position) !== undefined && applier.atBoundary) {
        await applier.finish()
        // Everything that was read is applied now, which may be all that was to be reached.
        const reason = end.reason(applier.position)!
        reporting.abort()
        await reported
        await report.look()
        // PostgreSQL 18 goes on without a publication that is dropped under way.
        await requirePublications(source, catalog, names)
        await record(applier.position)
        return reason
      }
      if (end.until !== undefined && applier.isIdle) stream.ping()
    }
  } catch (error) {
    // What pgoutput says of a publication that it does not find, before PostgreSQL 18.
    if (sqlState(error) === UNDEFINED_OBJECT) await requirePublications(source, catalog, names)
    // The session goes on with the same changes: what it holds of them must be gone before.
    if (error instanceof TextRequired) await applier.settled().then(() => transaction.rollback())
    throw error
  } finally {
    reporting.abort()
    slice.changes += total(applier.applied)
    await Promise.race([Promise.all([reported, warnings.stored()]), pause(1_000)])
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
  return endingByForce(session)
}

/** A session that ends also when the other side does not answer. */
function endingByForce(session: Connection): Connection {
  return Object.assign(session, { [Symbol.asyncDispose]: () => endSession(session) })
}

/** How far the target is behind is not known while it does not follow: the last figure could be a 0 that is not true. */
async function forgetLatency(context: DatabaseContext): Promise<void> {
  await context
    .status((status) => ({ ...status, latencySeconds: undefined, lagBytes: undefined }))
    .catch((error: unknown) => context.log.warn('The status could not be stored', { error: errorText(error) }))
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
