import type { Connection } from '../connect.ts'
import { bothSettled } from './both-settled.ts'
import type { Key } from './key-range.ts'
import {
  digestsInBuckets,
  digestsInRange,
  digestsOf,
  hashBuckets,
  hashRange,
  parseKey,
  rangeEnd,
  type RowDigests,
  type RowsOf,
} from './row-digests.ts'
import type { TableHash } from './table-hash.ts'

/** Where in a table a comparison goes on. */
export interface Cursor {
  /** Keys that sort otherwise on the other server are looked up there: those of the source, then the target's. */
  pass: 'source' | 'target'
  lower?: Key
}

export interface RangeComparison {
  /** Rows of the source that were compared. */
  rows: number
  /** Rows that may differ: where nobody waits for the target, it may only be behind. */
  suspects: string[]
  /** There may be more of them in this range. */
  truncated: boolean
  /** Nothing at the end of the table. */
  next?: Cursor
}

/** Rows of a range: some tenths of a second of both servers, and some megabytes when it has to be read row by row. */
export const RANGE_ROWS = 20_000
/** Suspects of one range. Where there are more, a part of them says enough, or it is compared again. */
const MAX_SUSPECTS = 1_000
/** Rows of one side that are read to find the suspects among them: a range of one side may hold more on the other. */
const MAX_READ = 5 * RANGE_ROWS

/** Compares one range of a table over a connection to each side, at the same time. Needs pinOutput(). */
export async function compareRange(
  source: Connection,
  target: Connection,
  rows: RowsOf,
  cursor: Cursor,
  size = RANGE_ROWS,
): Promise<RangeComparison> {
  if (rows.identity.columns.length === 0) return await compareContent(source, target, rows)
  if (!rows.identity.ordered) return await lookUp(source, target, rows, cursor, size)
  const upper = await rangeEnd(source, rows, cursor.lower, size)
  const range = { ...(cursor.lower ? { lower: cursor.lower } : {}), ...(upper ? { upper } : {}) }
  const next = upper ? { next: { pass: cursor.pass, lower: upper } } : {}
  const [left, right] = await bothSettled(hashRange(source, rows, range), hashRange(target, rows, range))
  const compared = Number(left.rows)
  if (isSame(left, right)) return { rows: compared, suspects: [], truncated: false, ...next }
  const [ours, theirs] = await bothSettled(
    digestsInRange(source, rows, range, MAX_READ),
    digestsInRange(target, rows, range, MAX_READ),
  )
  return { rows: compared, ...suspectsOf(differing(ours, theirs), theirs.size >= MAX_READ), ...next }
}

/** Reads a range of one side, and the same rows of the other by their keys. */
async function lookUp(
  source: Connection,
  target: Connection,
  rows: RowsOf,
  { pass, lower }: Cursor,
  size: number,
): Promise<RangeComparison> {
  const [one, other] = pass === 'source' ? [source, target] : [target, source]
  const ours = await digestsInRange(one, rows, lower ? { lower } : {}, size)
  const keys = [...ours.keys()]
  const theirs = keys.length === 0 ? new Map<string, string>() : await digestsOf(other, rows, keys)
  // What both have was compared when the source was read.
  const found = pass === 'source' ? differing(ours, theirs) : keys.filter((key) => !theirs.has(key))
  const last = keys.at(-1)
  return {
    rows: pass === 'source' ? ours.size : 0,
    ...suspectsOf(found, false),
    ...(keys.length >= size && last !== undefined
      ? { next: { pass, lower: parseKey(last) } }
      : pass === 'source'
        ? { next: { pass: 'target' } }
        : {}),
  }
}

/** A table without a key is compared whole: no other order is the same on both sides. */
async function compareContent(source: Connection, target: Connection, rows: RowsOf): Promise<RangeComparison> {
  const [left, right] = await bothSettled(hashBuckets(source, rows), hashBuckets(target, rows))
  let compared = 0
  for (const hash of left.values()) compared += Number(hash.rows)
  const buckets: string[] = []
  let read = 0
  const names = [...new Set([...left.keys(), ...right.keys()])].filter(
    (name) => !isSame(left.get(name), right.get(name)),
  )
  for (const name of names) {
    read += Number(left.get(name)?.rows ?? 0n) + Number(right.get(name)?.rows ?? 0n)
    if (buckets.length > 0 && read > MAX_READ) break
    buckets.push(name)
  }
  if (buckets.length === 0) return { rows: compared, suspects: [], truncated: false }
  const [ours, theirs] = await bothSettled(
    digestsInBuckets(source, rows, buckets),
    digestsInBuckets(target, rows, buckets),
  )
  return { rows: compared, ...suspectsOf(differing(ours, theirs), buckets.length < names.length) }
}

function isSame(left: TableHash | undefined, right: TableHash | undefined): boolean {
  return left?.rows === right?.rows && left?.hash === right?.hash
}

/** Rows that are not the same in both. */
function differing(left: RowDigests, right: RowDigests): string[] {
  const all = [...left.keys(), ...[...right.keys()].filter((row) => !left.has(row))]
  return all.filter((row) => left.get(row) !== right.get(row))
}

function suspectsOf(found: string[], truncated: boolean): Pick<RangeComparison, 'suspects' | 'truncated'> {
  return { suspects: found.slice(0, MAX_SUSPECTS), truncated: truncated || found.length > MAX_SUSPECTS }
}
