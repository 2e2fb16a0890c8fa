import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { errorText, isTransient, MigrationError } from '../errors.ts'
import type { CopyPace } from './copy-pace.ts'
import { copyRange } from './copy-range.ts'
import { openCopySessions, type CopySessions } from './copy-session.ts'
import type { ActiveCopy, LoadProgress } from './load-progress.ts'
import { keyOf, planCopies, type PlannedCopy } from './planned-copy.ts'
import { readRanges } from './read-ranges.ts'
import type { Snapshot } from './slot-snapshot.ts'
import { markLoading } from './table-copy.ts'
import {
  completeRanges,
  isAnythingCutIntoRanges,
  isBegunUnder,
  isRangeOpen,
  openRanges,
  openRangesOf,
  type OpenRange,
} from './table-range-copy.ts'
import type { TableName } from './tables.ts'

/** How often somebody who has nothing to do looks for ranges. */
const LOOK_MS = 300
/** Helping is optional: after some failures it is left to whoever has begun the table. */
const MAX_HELPER_FAILURES = 3

interface Owner {
  context: DatabaseContext
  lease: Lease
  snapshot: Snapshot
  progress: LoadProgress
  pace: CopyPace
  signal: AbortSignal
  counts: { ranges: number }
  /** Failed tries by table; a range that is done shows that the table gets on. */
  failures: Map<string, number>
}

/**
 * Copies a large table in ranges under the snapshot of the caller: begins it (or goes on, after a failure), copies
 * ranges until none is left, waits for those that others copy, and marks the table as completed.
 *
 * What if it dies here: another holder of the lease begins the table anew, or completes it when all ranges were done.
 * What if it runs twice, or stalls and wakes up: each range commits under the fence of whoever has begun the table,
 * and together with its mark, once.
 *
 * @throws what copying a range throws
 */
export async function copyByRanges(
  { context, lease, snapshot, progress, pace, signal, counts, failures }: Owner,
  sessions: CopySessions,
  planned: PlannedCopy,
  count: number,
): Promise<void> {
  const { table, method } = planned
  const { reader, writer } = sessions
  if (!(await markLoading(writer, lease, table)) || (await completeRanges(writer, lease, table))) return
  if (!(await isBegunUnder(writer, lease, table, snapshot))) {
    const ranges = await readRanges(reader, table, method!, count)
    await openRanges(writer, lease, table, { snapshot, method: method!, ranges })
  }
  await using leasing = await context.target(`${lease.name} range`)
  while (!signal.aborted) {
    const claimed = await claimRange(leasing, { table })
    if (claimed === undefined && (await completeRanges(writer, lease, table))) return
    if (claimed === undefined) {
      await sleep(LOOK_MS, undefined, { signal }).catch(() => {})
      continue
    }
    await using _claim = claimed.lease
    await copyClaimed({ progress, pace }, sessions, planned, claimed)
    counts.ranges += 1
    failures.delete(keyOf(table))
  }
  signal.throwIfAborted()
}

interface ClaimedRange {
  range: OpenRange
  lease: Lease
}

/** Takes a range that nobody is at work on; undefined when there is none at the moment. */
async function claimRange(
  leasing: Connection,
  { table, avoid }: { table?: TableName; avoid?: Set<string> },
): Promise<ClaimedRange | undefined> {
  for (const range of await openRangesOf(leasing, table)) {
    if (avoid?.has(beginning(range))) continue
    const lease = await acquireLease(leasing, `range-${range.id}`)
    if (!lease) continue
    // Its last holder may have copied it since we looked.
    if (await isRangeOpen(leasing, range)) return { range, lease }
    await lease[Symbol.asyncDispose]()
  }
  return undefined
}

async function copyClaimed(
  { progress, pace }: Pick<Owner, 'progress' | 'pace'>,
  sessions: CopySessions,
  { table, format }: PlannedCopy,
  { range, lease }: ClaimedRange,
): Promise<void> {
  await lease.addSession(sessions.writer)
  const { schema, name } = table
  const active: ActiveCopy = { schema, name, writerPid: sessions.writerPid, bytes: 0, range: range.id }
  const cut = (): void => void sessions.cut()
  lease.lost.addEventListener('abort', cut)
  progress.active.add(active)
  try {
    await copyRange(sessions, table, range, {
      format,
      onBytes(bytes) {
        active.bytes += bytes
        return pace(bytes)
      },
    })
  } finally {
    progress.active.delete(active)
    lease.lost.removeEventListener('abort', cut)
  }
}

/** Somebody who copies ranges of tables that others have begun, in this process or in another one. */
export interface RangeHelper extends AsyncDisposable {
  /** Copies one range, or waits a moment when none is free; false when no table is copied by ranges. */
  help(): Promise<boolean>
}

interface Helping {
  context: DatabaseContext
  progress: LoadProgress
  pace: CopyPace
  signal: AbortSignal
}

/** @param number tells the sessions of this helper from those of others */
export function rangeHelper({ context, progress, pace, signal }: Helping, number: number): RangeHelper {
  let leasing: Connection | undefined
  let working: { of: string; planned: PlannedCopy; sessions: CopySessions } | undefined
  const failures = new Map<string, number>()
  const avoid = new Set<string>()
  const cut = (): void => void working?.sessions.cut()
  signal.addEventListener('abort', cut)

  async function endWork(): Promise<void> {
    const { sessions } = working ?? {}
    working = undefined
    await sessions?.[Symbol.asyncDispose]()
  }

  /** Sessions for one table at a time, under the name of whoever has begun it: a successor of theirs ends them. */
  async function workOn(range: OpenRange): Promise<NonNullable<typeof working>> {
    if (working?.of === beginning(range)) return working
    await endWork()
    const [planned] = await planCopies(context, leasing!, [range])
    if (!planned) throw new MigrationError('TableMissing', `${range.schema}.${range.name} is not on the source.`)
    const sessions = await openCopySessions(context, `${range.owner.name} ${number}`)
    working = { of: beginning(range), planned, sessions }
    if (signal.aborted) await sessions.cut()
    return working
  }

  async function helpWith(claimed: ClaimedRange): Promise<void> {
    const of = beginning(claimed.range)
    await using _claim = claimed.lease
    try {
      const { sessions, planned } = await workOn(claimed.range)
      await copyClaimed({ progress, pace }, sessions, planned, claimed)
    } catch (error) {
      await working?.sessions.cut()
      await endWork()
      if (signal.aborted) return
      const failed = (failures.get(of) ?? 0) + 1
      failures.set(of, failed)
      context.log.warn('A range could not be copied by a helper', {
        table: keyOf(claimed.range),
        error: errorText(error),
      })
      const lost = error instanceof MigrationError && ['SnapshotLost', 'LeaseLost'].includes(error.code)
      if (lost || !isTransient(error) || failed >= MAX_HELPER_FAILURES) avoid.add(of)
      else await sleep(LOOK_MS, undefined, { signal }).catch(() => {})
    }
  }

  return {
    async help() {
      leasing ??= await context.target(`copy-help ${number}`)
      const claimed = await claimRange(leasing, { avoid })
      if (claimed) {
        await helpWith(claimed)
        return true
      }
      await endWork()
      if (!(await isAnythingCutIntoRanges(leasing, [...avoid].map(tableOf)))) return false
      await sleep(LOOK_MS, undefined, { signal }).catch(() => {})
      return true
    },
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', cut)
      await endWork()
      await leasing?.[Symbol.asyncDispose]()
    },
  }
}

/** Tells one beginning of a table's copy from the next one. */
function beginning({ schema, name, snapshot }: OpenRange): string {
  return JSON.stringify([schema, name, snapshot])
}

function tableOf(begun: string): TableName {
  const [schema, name] = JSON.parse(begun) as [string, string]
  return { schema, name }
}
