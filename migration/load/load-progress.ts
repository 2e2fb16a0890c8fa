import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { writeLoadStatus } from './load-status.ts'

/** A table whose stream is flowing. */
export interface ActiveCopy {
  schema: string
  name: string
  /** Of the writer, on the target. */
  writerPid: string
  bytes: number
  /** The range that it copies; undefined: the whole table. */
  range?: string
}

export interface LoadProgress extends AsyncDisposable {
  active: Set<ActiveCopy>
}

/** As often as a person looks. */
const INTERVAL_MS = 1_000

/**
 * Writes every second how far the tables under way are, into pgflex.table_copy and the status of the database.
 * Nothing depends on it: when it fails, the copy goes on.
 *
 * @param target a session in autocommit, of which it uses a little
 */
export async function startLoadProgress(context: DatabaseContext, target: Connection): Promise<LoadProgress> {
  const active = new Set<ActiveCopy>()
  const { rows } = await target.query<{ exists: string }>(
    `select to_regclass('pg_catalog.pg_stat_progress_copy') is not null as exists`,
  )
  const rowsDone = rows[0]!.exists === 't' ? ROWS_BY_SERVER : ROWS_BY_BYTES
  let writing: Promise<void> = Promise.resolve()
  let timer = setTimeout(tick, INTERVAL_MS)

  function tick(): void {
    writing = (async () => {
      const whole = [...active].filter(({ range }) => range === undefined)
      if (whole.length > 0) await writeActive(target, whole, rowsDone)
      if (active.size > whole.length) await writeActiveRanges(target, [...active], rowsDone)
      await writeLoadStatus(context, target)
    })()
      .catch((error) => context.log.warn('The progress of the load could not be written', { error: String(error) }))
      .finally(() => {
        timer = setTimeout(tick, INTERVAL_MS)
      })
  }

  return {
    active,
    async [Symbol.asyncDispose]() {
      clearTimeout(timer)
      await writing
      clearTimeout(timer)
      await writeLoadStatus(context, target).catch(() => {})
    },
  }
}

/** https://www.postgresql.org/docs/current/progress-reporting.html#COPY-PROGRESS-REPORTING (14 and newer) */
const ROWS_BY_SERVER = `coalesce(
  (select p.tuples_processed from pg_stat_progress_copy p where p.pid = a.pid and p.relid <> 0), t.rows_done)`

/** An estimate: the share of the bytes, of the estimated rows. */
const ROWS_BY_BYTES = `(t.rows_total * least(1, a.bytes::float8 / greatest(t.bytes_total, 1)))::int8`

/** Ranges of one table are copied by several activities: each writes its own, and the sum of all that are written. */
async function writeActiveRanges(target: Connection, active: ActiveCopy[], rowsDone: string): Promise<void> {
  const ranges = active.flatMap(({ range, ...copy }) => (range === undefined ? [] : [{ ...copy, range }]))
  await target.query(
    `update pgflex.table_range r
        set bytes_done = a.bytes, rows_done = ${rowsDone.replaceAll('t.rows_done', 'r.rows_done')}
       from unnest($1::int8[], $2::int8[], $3::int[]) as a (id, bytes, pid)
       cross join lateral (
         select c.rows_total / greatest(c.ranges, 1) as rows_total, c.bytes_total / greatest(c.ranges, 1) as bytes_total
           from pgflex.table_copy c join pgflex.table_range o using (schema_name, table_name)
          where o.id = a.id) as t
      where r.id = a.id and not r.done`,
    [ranges.map(({ range }) => range), ranges.map(({ bytes }) => bytes), ranges.map(({ writerPid }) => writerPid)],
  )
  await target.query(
    `update pgflex.table_copy t
        set bytes_done = r.bytes, rows_done = r.rows
       from (select schema_name, table_name, sum(bytes_done) as bytes, sum(rows_done) as rows
               from pgflex.table_range
              where (schema_name, table_name) in (select * from unnest($1::text[], $2::text[]))
              group by schema_name, table_name) as r
      where t.schema_name = r.schema_name and t.table_name = r.table_name and t.state = 'loading'`,
    [ranges.map(({ schema }) => schema), ranges.map(({ name }) => name)],
  )
}

async function writeActive(target: Connection, active: ActiveCopy[], rowsDone: string): Promise<void> {
  // "loading" is checked again after a wait for the row: a table that has just been completed keeps its numbers.
  await target.query(
    `update pgflex.table_copy t
        set bytes_done = a.bytes, rows_done = ${rowsDone}
       from unnest($1::text[], $2::text[], $3::int8[], $4::int[]) as a (schema_name, table_name, bytes, pid)
      where t.schema_name = a.schema_name and t.table_name = a.table_name and t.state = 'loading'`,
    [
      active.map(({ schema }) => schema),
      active.map(({ name }) => name),
      active.map(({ bytes }) => bytes),
      active.map(({ writerPid }) => writerPid),
    ],
  )
}
