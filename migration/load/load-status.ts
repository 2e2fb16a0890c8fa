import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import type { DatabaseStatus } from '../model/status.ts'

export interface LoadSums {
  queued: number
  loading: number
  completed: number
  errored: number
  rowsDone: number
  rowsTotal: number
  bytesDone: number
  bytesTotal: number
  /** Since the first table was begun. */
  elapsedSeconds: number
}

/**
 * Sums over pgflex.table_copy.
 *
 * The total of a table is its size on the source's disk, its progress is counted in bytes of the stream, and the two
 * have different scales. So that "done" arrives at "total" exactly when all tables are completed: a completed table
 * counts with its total, one under way with its stream, at most its total. In the same way a completed table's
 * rows are both its done and its total, whatever the catalog's estimate was.
 */
export async function readLoadSums(target: Connection): Promise<LoadSums> {
  const { rows } = await target.query<Record<keyof LoadSums, string>>(
    `select count(*) filter (where state = 'queued')    as "queued",
            count(*) filter (where state = 'loading')   as "loading",
            count(*) filter (where state = 'completed') as "completed",
            count(*) filter (where state = 'errored')   as "errored",
            coalesce(sum(rows_done) filter (where state in ('loading', 'completed')), 0) as "rowsDone",
            coalesce(sum(case state when 'completed' then rows_done
                                    when 'loading' then greatest(rows_total, rows_done)
                                    else rows_total end), 0) as "rowsTotal",
            coalesce(sum(case state when 'completed' then bytes_total
                                    when 'loading' then least(bytes_done, bytes_total)
                                    else 0 end), 0) as "bytesDone",
            coalesce(sum(bytes_total), 0) as "bytesTotal",
            coalesce(extract(epoch from clock_timestamp() - min(started_at)), 0) as "elapsedSeconds"
       from pgflex.table_copy`,
  )
  return Object.fromEntries(
    Object.entries(rows[0]!).map(([name, value]) => [name, Number(value)]),
  ) as unknown as LoadSums
}

/** Before this, a rate says nothing. */
const MIN_ELAPSED_SECONDS = 5

/** The part of the status that the sums stand for. */
export function loadStatus(sums: LoadSums, now: Date): Pick<DatabaseStatus, 'tables' | 'progress'> {
  const { queued, loading, completed, errored, rowsDone, rowsTotal, bytesDone, bytesTotal, elapsedSeconds } = sums
  const remaining = bytesTotal - bytesDone
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
