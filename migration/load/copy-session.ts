import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import type { Side } from '../store/secrets.ts'

/** The process id of a session on its server; in the simple protocol, which is all that a walsender understands. */
export async function backendPid(connection: Connection): Promise<string> {
  const { rows } = await connection.query<{ pid: string }>('select pg_backend_pid() as pid')
  return rows[0]!.pid
}

/**
 * A reader on the source and a writer on the target, for one table after the other. Leaving the block with a
 * copy under way cuts both connections: destroying a copy stream alone leaves the server at work and the
 * client stuck.
 */
export interface CopySessions extends AsyncDisposable {
  reader: Connection
  writer: Connection
  writerPid: string
  /** Cuts both connections at once and makes sure that their servers notice. */
  cut(): Promise<void>
}

/**
 * How long a copy waits for the lock of one table: somebody alters it on the source, or looks into it on the
 * target. The copy is then tried again, and in the end says so; waiting in silence would tell nobody.
 */
const LOCK_TIMEOUT = '60s'

/** @param purpose names the writer in pg_stat_activity; see {@link endPredecessors} */
export async function openCopySessions(context: DatabaseContext, purpose: string): Promise<CopySessions> {
  const reader = await context.source(`${purpose} read`)
  let writer: Connection | undefined
  try {
    await reader.query(`set lock_timeout = '${LOCK_TIMEOUT}'`)
    const readerPid = await backendPid(reader)
    writer = await context.target(`${purpose} write`)
    // durableOutcome in table-copy.ts says why the commits of the load need not be flushed one by one.
    await writer.query(`set lock_timeout = '${LOCK_TIMEOUT}'; set synchronous_commit = off`)
    const writerPid = await backendPid(writer)
    return sessions(context, { reader, readerPid, writer, writerPid })
  } catch (error) {
    await Promise.all([reader.end(), writer?.end()]).catch(() => {})
    throw error
  }
}

function sessions(
  context: DatabaseContext,
  opened: { reader: Connection; readerPid: string; writer: Connection; writerPid: string },
): CopySessions {
  const { reader, readerPid, writer, writerPid } = opened
  let cutting: Promise<void> | undefined
  return {
    reader,
    writer,
    writerPid,
    cut() {
      cutting ??= (async () => {
        // With a query under way, end() destroys the socket at once.
        await Promise.all([reader.end(), writer.end()]).catch(() => {})
        await Promise.all([endBackend(context, 'source', readerPid), endBackend(context, 'target', writerPid)])
      })()
      return cutting
    },
    async [Symbol.asyncDispose]() {
      if (cutting) await cutting
      else await Promise.all([reader.end(), writer.end()]).catch(() => {})
    },
  }
}

/**
 * Ends a session of ours that may not notice that its client has gone, since it waits for a lock. The name is
 * checked because the process id may be somebody else's by now. Best effort: a server that is down has ended it.
 */
export async function endBackend(context: DatabaseContext, side: Side, pid: string): Promise<void> {
  try {
    await using connection = side === 'source' ? await context.source('end copy') : await context.target('end copy')
    await connection.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where pid = $1 and usename = current_user and application_name like 'pgflex %'`,
      [pid],
    )
  } catch (error) {
    context.log.warn('A session of the load could not be ended', { side, pid, error: String(error) })
  }
}

/**
 * Ends the writers that an earlier holder of a lease has left behind (its machine is gone, its connection not yet):
 * they hold ACCESS EXCLUSIVE locks on the tables that have to be copied again. Call it with the lease in hand.
 */
export async function endPredecessors(target: Connection, purpose: string): Promise<void> {
  await target.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name ~ $1 and datname = current_database() and usename = current_user`,
    [`^pgflex ${purpose}( [0-9]+)? write$`],
  )
}
