import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { errorText } from '../errors.ts'
import { formatLsn, type Lsn } from '../lsn.ts'
import { readDatabaseStatus } from '../store/migrations.ts'
import { growHeapFreely } from '../schema/heap-growth.ts'
import { breakOff, endSession, prepareApplySession, sendWithoutWaiting } from './apply/apply-session.ts'
import { applyRefused, refusedTable } from './apply/refusal.ts'
import { StatementRefused } from './apply/target-transaction.ts'
import { followStream, onAbort, type Slice } from './follow-stream.ts'
import { readProgress } from './progress.ts'
import { SliceEnd, type SliceEndOptions, type SliceReason } from './slice-end.ts'
import { SliceReport } from './slice-report.ts'
import { sourceObjects } from './slot-name.ts'
import { namingTroubles } from './source-trouble.ts'
import { TextRequired } from './text-required.ts'

/**
 * `ms`: how long to follow; a transaction that has begun to arrive is finished first. `until`: end as soon as
 * everything that the source committed before this LSN is on the target. `onCommand`: asked every half second; true
 * ends the slice.
 */
export type SliceOptions = SliceEndOptions

export interface SliceResult {
  ok: true
  /** busy: another copy of this activity follows. */
  reason: SliceReason | 'busy'
  /** Everything that the source committed before it is on the target. */
  appliedLsn: string
  /** Row changes applied in this slice. */
  changes: number
  /** End of the last commit of this slice that had any; 0 when there was none. */
  changedLsn: Lsn
  /** Infinity as long as it is not known. */
  latencySeconds: number
  lagBytes: number
}

/** For reading the source's catalog, while somebody alters a table there. */
const SOURCE_LOCK_TIMEOUT = '1s'

/** ms for the transaction that is arriving to end when the host wants to stop; then it is left for the next slice. */
const DRAIN_MS = 5_000
/**
 * Applies what the source commits for about `ms`. All that has happened is in the target: call it again, after
 * whatever end.
 *
 * @throws {MigrationError} as slotTrouble(), continuation() and sourceTrouble(); PublicationMissing, ApplyRefused,
 *   SchemaChanged, TablesNotCopied …; LeaseLost and lost connections (retryable)
 */
export async function replicateSlice(context: DatabaseContext, options: SliceOptions): Promise<SliceResult> {
  growHeapFreely()
  const { slot } = sourceObjects(context.key, context.database)
  await using leaseSession = await context.target('replicate lease').catch(async (error: unknown) => {
    await forgetLatency(context)
    throw error
  })
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
  await source.query(`set lock_timeout = '${SOURCE_LOCK_TIMEOUT}'`)
  sendWithoutWaiting(source)
  sendWithoutWaiting(catalog)
  await using session = await openApplySession(context, lease)
  const report = new SliceReport(context, source, catalog, slot)
  using end = new SliceEnd(context, options)
  // A statement that waits for a lock would hold up everything.
  using _watch = onAbort(lease.lost, () => breakOff(session))
  using _silence = onAbort(lease.silent, () => void tellSilent(context, lease))
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
    changedLsn: 0n,
  }
  let reason: SliceReason | undefined
  while (reason === undefined) {
    try {
      reason = await followStream(slice)
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
    changedLsn: slice.changedLsn,
    latencySeconds: report.latencySeconds ?? Infinity,
    lagBytes: report.lagBytes ?? 0,
  }
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

/** It is waited for: a large transaction that is half applied would have to begin anew. */
async function tellSilent(context: DatabaseContext, lease: Lease): Promise<void> {
  await forgetLatency(context)
  const message = errorText(lease.silent.reason)
  await context.event({ level: 'warning', event: 'TargetSilent', message }).catch((error: unknown) => {
    context.log.warn('An event could not be stored', { error: errorText(error), message })
  })
}

async function busy(context: DatabaseContext, appliedLsn: string): Promise<SliceResult> {
  const status = await readDatabaseStatus(context.documents, context.key, context.database)
  return {
    ok: true,
    reason: 'busy',
    appliedLsn,
    changes: 0,
    changedLsn: 0n,
    latencySeconds: status.latencySeconds ?? Infinity,
    lagBytes: status.lagBytes ?? 0,
  }
}
