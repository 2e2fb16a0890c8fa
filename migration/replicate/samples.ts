import type { Connection } from '../connect.ts'

export interface SamplePoint {
  latencySeconds: number
  lagBytes: number
  changesApplied: number
}

/** Adds a point of the plots. */
export async function addSample(target: Connection, point: SamplePoint): Promise<void> {
  await target.query(
    `insert into pgflex.sample (latency_seconds, lag_bytes, rows_copied, bytes_copied, changes_applied)
     select $1, $2, coalesce(sum(rows_done), 0), coalesce(sum(bytes_done), 0), $3 from pgflex.table_copy`,
    [point.latencySeconds, point.lagBytes, point.changesApplied],
  )
}

/**
 * Keeps all points of the last hour, one for each minute of the last week, and one for each hour before: about
 * 12,000 after a week with a point every other second, and 24 for each day more. Of those in the way the one with the
 * greatest latency stays, which is what a plot is looked at for.
 */
export async function thinSamples(target: Connection): Promise<void> {
  await target.query(`
    delete from pgflex.sample s
     using (select ctid,
                   row_number() over (
                     partition by date_trunc(case when at < now() - interval '7 days' then 'hour' else 'minute' end, at)
                         order by latency_seconds desc, at) as rank
              from pgflex.sample
             where at < now() - interval '1 hour') old
     where s.ctid = old.ctid and old.rank > 1`)
}
