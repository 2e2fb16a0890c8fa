import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { isStepDone, markStepDone } from '../control/control-schema.ts'
import { acquireLease, checkFence, type Lease } from '../control/lease.ts'
import { errorText, isTransient, MigrationError } from '../errors.ts'
import { readTargetRoles } from '../schema/roles.ts'
import { copyLargeObjects, type LargeObjectPass } from './copy-large-objects.ts'
import { copyPace } from './copy-pace.ts'
import { RelayError } from './copy-relay.ts'
import { endPredecessors, openCopySessions, type CopySessions } from './copy-session.ts'
import { readLargeObjectFacts, unreadableMessage, type LargeObjectFacts } from './large-object-facts.ts'
import {
  openRanges,
  passSums,
  rangesBetween,
  readBounds,
  storeRanges,
  type LargeObjectRange,
} from './large-object-range.ts'
import { rightsWarnings } from './large-object-rights.ts'
import { DEFAULT_COPY_JOBS } from './load-jobs.ts'
import { commonDigest, versionOf } from '../verify/compare-checksums.ts'
import type { Digest } from '../verify/table-hash.ts'
import { exportOfflineSnapshot } from './offline-snapshot.ts'

const STEP = 'large objects'
/** Names the lease, and the sessions after it. */
const PURPOSE = 'large-objects'

/**
 * Copies the large objects of a database: the step of the load. It can be ended anywhere and run again, by anybody,
 * and costs a comparison then instead of a copy.
 *
 * Online, each range of them is read under a snapshot of its own: they are no part of the change stream, and all of
 * them are compared again while the source is frozen ({@link copyLargeObjectsAgain}). Offline, all are of one moment.
 *
 * Those that our role may not read are named in a warning, and refuse the cutover; Offline, they end the load when
 * all others are copied.
 *
 * @returns finished false when the host stops: call it again
 * @throws {MigrationError} Busy, LeaseLost, LargeObjectsFailed, LargeObjectsUnreadable
 */
export async function loadLargeObjects(context: DatabaseContext): Promise<{ finished: boolean }> {
  await using control = await context.target('large-objects control')
  if (await isStepDone(control, STEP)) return { finished: true }
  await using leasing = await context.target('large-objects lease')
  await using lease = await takeLease(leasing)
  // Whoever had it may have ended meanwhile; a cutover may have come after them.
  if (await isStepDone(control, STEP)) return { finished: true }
  await endPredecessors(control, PURPOSE)
  const facts = await sourceFacts(context)
  const online = context.record.properties.migrationMode === 'Online'
  await warn(context, control, facts)
  {
    await using snapshot = online ? undefined : await exportOfflineSnapshot(context)
    // Under another snapshot, what was done before has to be compared anew.
    const pass = snapshot === undefined ? 'load' : `load ${lease.fence}`
    const { pgflex, dbsToMigrate } = context.record.properties
    const rate = pgflex.maxCopyBytesPerSecond
    await copyAll(context, control, [lease], {
      pass,
      // Every database has its part of the rate; this activity has no others beside it.
      pace: copyPace(rate === undefined ? undefined : rate / Math.max(dbsToMigrate.length, 1)),
      ...(snapshot === undefined ? {} : { snapshot: snapshot.name }),
    })
    if (context.draining.aborted) return { finished: false }
    const { objects, bytes } = await passSums(control, pass)
    if (facts.unreadable.objects > 0 && !online) throw unreadable(context, facts)
    await control.query('begin')
    await markStepDone(control, STEP, { objects, bytes })
    await checkFence(control, lease)
    await control.query('commit')
    if (objects > 0) {
      await context.event({
        level: 'info',
        event: 'LargeObjectsCopied',
        message: `${objects} large objects with ${bytes} bytes were copied.`,
      })
    }
  }
  return { finished: true }
}

/**
 * Compares all large objects with the source and copies again what has changed, while nobody writes there: content,
 * owners, rights, comments, new and dropped ones. The downtime is that of reading them once on each side.
 *
 * @param lease of the caller; its fence is checked before each commit
 * @param attempt names the attempt to cut over: what it has compared stays compared when it goes on after a crash
 * @throws {MigrationError} LargeObjectsUnreadable, LargeObjectsFailed, LeaseLost
 */
export async function copyLargeObjectsAgain(
  context: DatabaseContext,
  lease: Lease,
  attempt: string,
): Promise<{ objects: number; bytes: number }> {
  if (await areThereNone(context)) return { objects: 0, bytes: 0 }
  const facts = await sourceFacts(context)
  if (facts.unreadable.objects > 0) throw unreadable(context, facts)
  await using control = await context.target('large-objects control')
  await using leasing = await context.target('large-objects lease')
  // A copy of the load that stood still until now must not wake up and write what it read before the freeze.
  await using own = await takeLease(leasing)
  await endPredecessors(control, PURPOSE)
  const pass = `cutover ${attempt}`
  // No limit on the rate while applications wait.
  await copyAll(context, control, [lease, own], { pass, pace: copyPace(undefined) })
  context.draining.throwIfAborted()
  const { objects, bytes } = await passSums(control, pass)
  return { objects, bytes }
}

/**
 * Most databases have no large objects, and applications wait. Where the load is recorded as done, no copy of it that
 * stood still can write any more: whoever recorded it had taken the lease from that one.
 */
async function areThereNone(context: DatabaseContext): Promise<boolean> {
  const found = 'select from pg_catalog.pg_largeobject_metadata limit 1'
  await using source = await context.source('large-objects')
  if ((await source.query(found)).rows.length > 0) return false
  await using control = await context.target('large-objects control')
  return (await control.query(found)).rows.length === 0 && (await isStepDone(control, STEP))
}

async function takeLease(leasing: Connection): Promise<Lease> {
  const lease = await acquireLease(leasing, PURPOSE)
  if (lease) return lease
  throw new MigrationError('Busy', 'Another copy of the large objects is at work.', { retryable: true })
}

async function sourceFacts(context: DatabaseContext): Promise<LargeObjectFacts> {
  await using source = await context.source('large-objects')
  return await readLargeObjectFacts(source)
}

function unreadable({ record }: DatabaseContext, facts: LargeObjectFacts): MigrationError {
  const { message, hint } = unreadableMessage(facts, record.source.user)
  return new MigrationError('LargeObjectsUnreadable', message, { hint, target: 'source' })
}

/** Tells what cannot be carried over, once. */
async function warn(context: DatabaseContext, control: Connection, facts: LargeObjectFacts): Promise<void> {
  const warnings = rightsWarnings(facts, await readTargetRoles(control))
  if (facts.unreadable.objects > 0) {
    const { message, hint } = unreadableMessage(facts, context.record.source.user)
    const warning = `${message} Cutover is refused until it may. ${hint}`
    warnings.push(warning)
    await context.event({ level: 'error', event: 'LargeObjectsUnreadable', message: warning })
  }
  if (warnings.length === 0) return
  await context.status((status) => ({ ...status, warnings: [...new Set([...status.warnings, ...warnings])] }))
}

/** One pass over all large objects, over several connections. Returns early when the host stops. */
async function copyAll(
  context: DatabaseContext,
  control: Connection,
  leases: Lease[],
  { pass, pace, snapshot }: Pick<LargeObjectPass, 'pass' | 'pace' | 'snapshot'>,
): Promise<void> {
  let digest: Digest
  {
    await using source = await context.source('large-objects')
    const ranges = rangesBetween(await readBounds(source), await readBounds(control))
    await storeRanges(control, leases, pass, ranges)
    digest = commonDigest(await Promise.all([source, control].map(versionOf)))
  }
  const work: LargeObjectPass = {
    pass,
    leases,
    roles: await readTargetRoles(control),
    digest,
    pace,
    ...(snapshot === undefined ? {} : { snapshot }),
  }
  const queue = await openRanges(control, pass)
  const failed = new AbortController()
  const signal = AbortSignal.any([context.draining, failed.signal, ...leases.map(({ lost }) => lost)])
  const lanes = Math.min(context.record.properties.pgflex.copyJobs ?? DEFAULT_COPY_JOBS, queue.length)
  const ended = await Promise.allSettled(
    Array.from({ length: lanes }, (_, lane) =>
      copyLane(context, { leases, queue, signal, purpose: `${PURPOSE} ${lane}` }, work).catch((error: unknown) => {
        failed.abort()
        throw error
      }),
    ),
  )
  for (const { lost } of leases) if (lost.aborted) throw lost.reason
  if (context.draining.aborted) return
  // The first failure has cut the others off.
  const reasons = ended.flatMap((lane) => (lane.status === 'rejected' ? [lane.reason as unknown] : []))
  if (reasons.length > 0) throw reasons.find((reason) => reason instanceof MigrationError) ?? reasons[0]
  // The commits of the lanes are not flushed one by one: see durableOutcome in table-copy.ts.
  await control.query('set synchronous_commit = on')
  await control.query('update pgflex.migration set key = key')
}

interface Lane {
  leases: Lease[]
  /** Ranges that nobody has begun; lanes take from its front. */
  queue: LargeObjectRange[]
  signal: AbortSignal
  /** Names the sessions. */
  purpose: string
}

async function copyLane(context: DatabaseContext, lane: Lane, pass: LargeObjectPass): Promise<void> {
  const { leases, queue, signal } = lane
  const sessions: CopySessions = await openCopySessions(context, lane.purpose)
  const cut = (): void => void sessions.cut()
  signal.addEventListener('abort', cut)
  try {
    for (const lease of leases) await lease.addSession(sessions.writer)
    for (let range = queue.shift(); range !== undefined; range = queue.shift()) {
      signal.throwIfAborted()
      await copyLargeObjects(sessions, range, pass).catch((error: unknown) => {
        throw signal.aborted ? error : inWords(range!, error)
      })
    }
  } catch (error) {
    await sessions.cut()
    throw error
  } finally {
    signal.removeEventListener('abort', cut)
    await sessions[Symbol.asyncDispose]()
  }
}

function inWords({ lower, upper }: LargeObjectRange, error: unknown): unknown {
  if (error instanceof MigrationError) return error
  const [where, cause] = error instanceof RelayError ? [` on the ${error.side}`, error.cause] : ['', error]
  return new MigrationError(
    'LargeObjectsFailed',
    `Copying large objects ${lower + 1} to ${upper} failed${where}: ${errorText(cause)}`,
    { retryable: isTransient(cause), cause },
  )
}
