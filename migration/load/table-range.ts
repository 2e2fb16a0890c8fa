import { id } from '../sql.ts'

/** How a table is cut: by pages of its heap, or by the values of an integer key. */
export type RangeMethod = 'pages' | 'key'

/** A part of a table: from `lower` on, up to but not including `upper`; null is open. Numbers of 8 bytes, as text. */
export interface TableRange {
  lower: string | null
  upper: string | null
}

/** What the source's catalog says about a key; all as text. */
export interface KeyStatistics {
  min: string
  max: string
  /** Bounds of buckets that hold equally many rows (pg_stats); empty when the table was never analyzed. */
  histogram: readonly string[]
}

/** Two batches of small tables: below it, a second stream gains less than the freezing of rows that it costs. */
const MIN_TABLE_BYTES = 128 * 1024 ** 2
/** A range costs some round trips; one of this size takes half a second. */
const MIN_RANGE_BYTES = 64 * 1024 ** 2
/** What a lost connection costs at most, for each stream. */
const MAX_RANGE_BYTES = 1024 ** 3
/** So many for each stream that the last ones end at about the same time. */
const RANGES_PER_JOB = 4
/** A range of a terabyte's table of 1 GB; beyond, ranges grow. */
const MAX_RANGES = 2000

/** In how many ranges a table of this size is copied; 1 means as a whole. */
export function rangeCount(bytes: number, jobs: number): number {
  if (jobs < 2 || bytes < MIN_TABLE_BYTES) return 1
  const size = Math.min(Math.max(bytes / (RANGES_PER_JOB * jobs), MIN_RANGE_BYTES), MAX_RANGE_BYTES)
  return Math.min(Math.ceil(bytes / size), MAX_RANGES)
}

/**
 * How a table can be cut. Pages come first: each is read once, in the order of the disk. Older servers read the whole
 * table for a range of pages, so there an integer key has to serve.
 *
 * @param major of the source
 * @returns undefined when the table can only be read in one stream
 */
export function rangeMethod(
  { heap, integerKey }: { heap: boolean; integerKey: string | null },
  major: number,
): RangeMethod | undefined {
  // TID range scans: https://www.postgresql.org/docs/release/14.0/
  if (heap && major >= 14) return 'pages'
  return integerKey === null ? undefined : 'key'
}

/** Equally many pages in each range. The last one is open: the table may have grown since its pages were counted. */
export function pageRanges(pages: number, count: number): TableRange[] {
  const ranges = Math.max(1, Math.min(count, pages))
  return between(Array.from({ length: ranges - 1 }, (_, i) => String(Math.floor((pages * (i + 1)) / ranges))))
}

/** Equally many rows in each range as far as the histogram knows, else equally many values. */
export function keyRanges({ min, max, histogram }: KeyStatistics, count: number): TableRange[] {
  const inner = Array.from({ length: count - 1 }, (_, i) => i + 1)
  if (histogram.length > count) {
    return between(inner.map((i) => histogram[Math.floor(((histogram.length - 1) * i) / count)]!))
  }
  const width = BigInt(max) - BigInt(min)
  return between(inner.map((i) => String(BigInt(min) + (width * BigInt(i)) / BigInt(count))))
}

/** Ranges between points, each of which begins one. */
function between(points: readonly string[]): TableRange[] {
  const distinct = points.filter((point, i) => i === 0 || BigInt(point) > BigInt(points[i - 1]!))
  return [null, ...distinct].map((lower, i) => ({ lower, upper: distinct[i] ?? null }))
}

/** The SQL condition of a range. The bounds come from the control schema: nothing but numbers passes. */
export function rangeCondition(method: RangeMethod, integerKey: string | null, { lower, upper }: TableRange): string {
  const column = method === 'pages' ? 'ctid' : id(integerKey!)
  const literal = (bound: string): string =>
    method === 'pages' ? `'(${BigInt(bound)},0)'::tid` : `'${BigInt(bound)}'::int8`
  const conditions = [
    ...(lower === null ? [] : [`${column} >= ${literal(lower)}`]),
    ...(upper === null ? [] : [`${column} < ${literal(upper)}`]),
  ]
  return conditions.length === 0 ? 'true' : conditions.join(' and ')
}
