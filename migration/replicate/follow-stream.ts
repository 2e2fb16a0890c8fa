import { setImmediate } from 'node:timers/promises'
import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import type { Lease } from '../control/lease.ts'
import { errorText, sqlState } from '../errors.ts'
import type { TableName } from '../load/tables.ts'
import type { Lsn } from '../lsn.ts'
import { Acknowledgement } from './acknowledgement.ts'
import { Applier } from './apply/applier.ts'
import { total } from './apply/change-counts.ts'
import type { ApplyOrder } from './apply/table-plan.ts'
import { TargetTables } from './apply/target-tables.ts'
import { StatementRefused, TargetTransaction } from './apply/target-transaction.ts'
import { FollowWarnings } from './follow-warnings.ts'
import { recordAcknowledged } from './followed-source.ts'
import { requirePublications } from './made-publications.ts'
import { Marking } from './marking.ts'
import { openFollowedSource } from './open-followed-source.ts'
import { readProgress } from './progress.ts'
import { SchemaChanges } from './schema-change/schema-changes.ts'
import { UnshownChanges } from './schema-change/unshown-changes.ts'
import type { SliceEnd, SliceReason } from './slice-end.ts'
import { pause, type SliceReport } from './slice-report.ts'
import { sourceObjects } from './slot-name.ts'
import { readTablePoints } from './table-points.ts'
import { TextRequired } from './text-required.ts'
import type { StreamMessage } from './walsender-messages.ts'

/** What a slice works with, for as many streams as it needs. */
export interface Slice {
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
  /** End of the last commit that had any. */
  changedLsn: Lsn
}

const UNDEFINED_OBJECT = '42704'
const LOCK_NOT_AVAILABLE = '55P03'

/** ms without messages after which the loop looks around. */
const READ_MS = 250
/** ms between questions to an idle source for how far it has sent, when there is a place to reach. */
const HURRY_MS = 20
/** Messages that are handled without a look at the sockets: some ms. */
const MESSAGES_AT_A_TIME = 2_000
/** ms at the end of a slice to come to the place where the source's catalog was read, if tables differ there. */
const CATALOG_MS = 2_000

/** Follows on one stream until the slice is to end. */
export async function followStream(slice: Slice): Promise<SliceReason> {
  const { context, lease, source, catalog, session, report, end, orders } = slice
  const names = sourceObjects(context.key, context.database)
  const [progress, points] = [await readProgress(catalog, names.slot), await readTablePoints(catalog)]
  const marking = await Marking.open(catalog, lease, { tidy: end.until === undefined })
  const opened = await openFollowedSource(context, { source, catalog, names, progress, asText: slice.textRequired })
  await using held = new AsyncDisposableStack()
  const stream = held.use(opened.stream)
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
    stream: { acknowledge: (lsn) => acknowledgement.acknowledge(lsn), wake: () => stream.wake() },
    tables: new TargetTables({ catalog, points, orders, binary, changes }),
    transaction: {
      async write(statements, groupEnd) {
        const { checked, durable } = await transaction.write(statements, groupEnd)
        if (!groupEnd) return { checked, durable }
        return { checked, durable: durable.then(() => acknowledgement.committed(groupEnd.endLsn)) }
      },
    },
    appliedLsn: progress.appliedLsn,
    marks: marking.marks,
    onIgnored: (table) => warnings.ignored(table),
    onMissed: (missed) => {
      following.missed += missed.rows
      warnings.missed(missed)
    },
  })
  const following = { stream, applier, marking, progress, missed: 0, warnings }
  report.following = following
  end.onEnd = () => stream.wake()
  using _lost = onAbort(lease.lost, () => stream.wake())

  const reporting = new AbortController()
  let reportFailure: { error: unknown } | undefined
  let catalogLimit = Infinity
  let asked = 0
  // What is read and not handled when the end has come is handled after all if it is not the end yet.
  let messages: Iterator<StreamMessage> = [][Symbol.iterator]()
  let taken = true
  const reported = report.run(reporting.signal).catch((error: unknown) => {
    reportFailure = { error }
    stream.wake()
  })
  try {
    for (;;) {
      lease.lost.throwIfAborted()
      if (reportFailure) throw (reportFailure as { error: unknown }).error
      if (taken) {
        messages = (await stream.read(end.isHurried ? HURRY_MS : READ_MS))[Symbol.iterator]()
        taken = false
      }
      for (let handled = 1; !taken; handled++) {
        const next = messages.next()
        if (next.done === true) {
          taken = true
          break
        }
        // The target's answers are waited for by nobody but this process: let them in between.
        if (handled % MESSAGES_AT_A_TIME === 0) await setImmediate()
        const message = next.value
        const pending = applier.handle(message)
        if (pending) await pending
        if (message.kind === 'commit' && end.reason(applier.position) !== undefined) break
      }
      await applier.writeWhenIdle()
      end.onPosition?.(applier.position)
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
        // Whoever hurries does not wait for the last figure to be exact.
        await report.look(end.isHurried ? reporting.signal : undefined)
        // PostgreSQL 18 goes on without a publication that is dropped under way.
        await requirePublications(source, catalog, names)
        await record(applier.position)
        if (reason === 'reached' && end.onReached) {
          held.move()
          end.onReached(stream)
        }
        return reason
      }
      // Each answer ends a wait of this loop: without a pause, question and answer would follow each other.
      if (end.isHurried && applier.isIdle && performance.now() - asked >= HURRY_MS) {
        asked = performance.now()
        stream.ping()
      }
    }
  } catch (error) {
    // What pgoutput says of a publication that it does not find, before PostgreSQL 18.
    if (sqlState(error) === UNDEFINED_OBJECT) await requirePublications(source, catalog, names)
    if (error instanceof TextRequired || error instanceof StatementRefused) {
      // The session goes on with the same changes: nothing of them may be on its way any more.
      await applier.settled().catch(() => {})
      await transaction.rollback()
    }
    throw error
  } finally {
    reporting.abort()
    slice.changes += total(applier.applied)
    if (applier.changedLsn > slice.changedLsn) slice.changedLsn = applier.changedLsn
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

/** Calls back when the signal is aborted, also when it is already, until the end of the block. */
export function onAbort(signal: AbortSignal, callback: () => void): Disposable {
  if (signal.aborted) callback()
  else signal.addEventListener('abort', callback)
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', callback) }
}
