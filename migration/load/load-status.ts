import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import type { DatabaseStatus } from '../model/status.ts'
import { SMALL_TABLE_BYTES } from './next-copies.ts'

export interface LoadSums {
  queued: number
  loading: number
  completed: number
  errored: number
  rowsDone: number
  rowsTotal: number
  bytesDone: number
  bytesTotal: number
  /** Of tables that were given up: part of the total, and nobody waits for them. */
  bytesErrored?: number
  /** Since the first table was begun. */
  elapsedSeconds: number
}

/** What pgflex.table_copy says, in sums where sums will do. */
export interface LoadFacts extends Pick<LoadSums, 'queued' | 'completed' | 'errored' | 'elapsedSeconds'> {
  /** Of completed tables: what the target has written. */
  rowsCompleted: number
  /** Estimates for the tables that are not begun or given up. */
  rowsWaiting: number
  bytesTotal: number
  bytesCompleted: number
  bytesErrored: number
  /** Completed tables that are worth a measurement: their size on the source's disk, and that of their streams. */
  measuredBytes: number
  measuredStream: number
  loading: LoadingTable[]
}

export interface LoadingTable {
  rowsDone: number
  /** An estimate; 0 when the source has never counted them. */
  rowsTotal: number
  /** Of the stream. */
  bytesDone: number
  /** On the source's disk. */
  bytesTotal: number
}

/** Streams are smaller than the disk's pages (headers, free space) or larger (compressed values): rarely beyond this. */
const MIN_STREAM_RATIO = 0.2
const MAX_STREAM_RATIO = 5

/**
 * Sums over pgflex.table_copy.
 *
 * The total of a table is its size on the source's disk, its progress is counted in bytes of the stream, and the two
 * have different scales. So that "done" arrives at "total" exactly when all tables are completed, and grows evenly
 * until then: a completed table counts with its total; one under way with the part of its rows that has arrived, or,
 * where the source has never counted them, of its stream, measured by the streams of the completed ones. In the same way
 * a completed table's rows are both its done and its total, whatever the catalog's estimate was.
 */
export function sumLoad({ loading, measuredBytes, measuredStream, ...facts }: LoadFacts): LoadSums {
  const measured = measuredBytes > 0 ? measuredStream / measuredBytes : 1
  const ratio = Math.min(Math.max(measured, MIN_STREAM_RATIO), MAX_STREAM_RATIO)
  const part = ({ rowsDone, rowsTotal, bytesDone, bytesTotal }: LoadingTable): number =>
    Math.min(1, rowsTotal > 0 && rowsDone > 0 ? rowsDone / rowsTotal : bytesDone / ratio / Math.max(bytesTotal, 1))
  const sum = (of: (table: LoadingTable) => number): number => loading.reduce((total, table) => total + of(table), 0)
  return {
    queued: facts.queued,
    loading: loading.length,
    completed: facts.completed,
    errored: facts.errored,
    rowsDone: facts.rowsCompleted + sum(({ rowsDone }) => rowsDone),
    rowsTotal:
      facts.rowsCompleted + facts.rowsWaiting + sum(({ rowsDone, rowsTotal }) => Math.max(rowsTotal, rowsDone)),
    bytesDone: facts.bytesCompleted + Math.round(sum((table) => part(table) * table.bytesTotal)),
    bytesTotal: facts.bytesTotal,
    bytesErrored: facts.bytesErrored,
    elapsedSeconds: facts.elapsedSeconds,
  }
}

export async function readLoadSums(target: Connection): Promise<LoadSums> {
  const { rows } = await target.query<Record<keyof LoadFacts, string>>(
    `select count(*) filter (where state = 'queued')    as "queued",
            count(*) filter (where state = 'completed') as "completed",
            count(*) filter (where state = 'errored')   as "errored",
            coalesce(sum(rows_done)   filter (where state = 'completed'), 0) as "rowsCompleted",
            coalesce(sum(rows_total)  filter (where state in ('queued', 'errored')), 0) as "rowsWaiting",
            coalesce(sum(bytes_total), 0) as "bytesTotal",
            coalesce(sum(bytes_total) filter (where state = 'completed'), 0) as "bytesCompleted",
            coalesce(sum(bytes_total) filter (where state = 'errored'), 0)   as "bytesErrored",
            coalesce(sum(bytes_total) filter (where state = 'completed' and bytes_total >= $1), 0) as "measuredBytes",
            coalesce(sum(bytes_done)  filter (where state = 'completed' and bytes_total >= $1), 0) as "measuredStream",
            coalesce(extract(epoch from clock_timestamp() - min(started_at)), 0) as "elapsedSeconds",
            coalesce(
              json_agg(json_build_object('rowsDone', rows_done, 'rowsTotal', rows_total,
                                         'bytesDone', bytes_done, 'bytesTotal', bytes_total))
                filter (where state = 'loading'), '[]') as "loading"
       from pgflex.table_copy`,
    [SMALL_TABLE_BYTES],
  )
  const { loading, ...numbers } = rows[0]!
  return sumLoad({
    ...(Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)])) as unknown as Omit<
      LoadFacts,
      'loading'
    >),
    loading: JSON.parse(loading) as LoadingTable[],
  })
}

/** Before this, a rate says nothing. */
const MIN_ELAPSED_SECONDS = 5

/** The part of the status that the sums stand for. */
export function loadStatus(sums: LoadSums, now: Date): Pick<DatabaseStatus, 'tables' | 'progress'> {
  const { queued, loading, completed, errored, rowsDone, rowsTotal, bytesDone, bytesTotal, elapsedSeconds } = sums
  const remaining = bytesTotal - bytesDone - (sums.bytesErrored ?? 0)
  const known = queued + loading > 0 && bytesDone > 0 && elapsedSeconds >= MIN_ELAPSED_SECONDS
  const estimatedEnd = known
    ? { estimatedEnd: new Date(now.getTime() + (elapsedSeconds * 1000 * remaining) / bytesDone).toISOString() }
    : {}
  return {
    tables: { queued, loading, completed, errored },
    progress: { rowsDone, rowsTotal, bytesDone, bytesTotal, ...estimatedEnd },
  }
}

export async function writeLoadStatus(context: DatabaseContext, target: Connection): Promise<LoadSums> {
  const sums = await readLoadSums(target)
  await context.status(loadStatus(sums, new Date()))
  return sums
}
