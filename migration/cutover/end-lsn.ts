import type { DatabaseContext } from '../context.ts'
import { parseLsn, type Lsn } from '../lsn.ts'

/**
 * An LSN of the source at or after every commit so far. Commits with synchronous_commit=off may be in WAL
 * that is not yet flushed, and a walsender sends flushed WAL only: the commit of a small transactional
 * message of ours flushes all that stands before it.
 * https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION
 */
export async function takeEndLsn(context: DatabaseContext): Promise<Lsn> {
  await using source = await context.source('end of stream')
  await source.query('set synchronous_commit = on')
  await source.query(`select pg_logical_emit_message(true, 'pgflex', 'cutover')`)
  const { rows } = await source.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn')
  return parseLsn(rows[0]!.lsn)
}

/** Everything that the source has committed by now is before it, but for commits with synchronous_commit=off. */
export async function flushedLsn(context: DatabaseContext): Promise<Lsn> {
  await using source = await context.source('catch up')
  const { rows } = await source.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn')
  return parseLsn(rows[0]!.lsn)
}
