import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { errorText, MigrationError, sqlState } from '../errors.ts'
import { id, literal } from '../sql.ts'
import { readFreezeObstacles } from './freeze-obstacles.ts'

/** What the database had before the freeze: null when it had no setting of its own. */
export interface FrozenFrom {
  previous: string | null
}

/** ms; a terminated session is gone at once, unless it is in the middle of a system call. */
const TERMINATE_LIMIT_MS = 15_000

/** Reads what a freeze will replace; stored before the freeze, so that it can be undone after a crash. */
export async function readFreezeSetting(source: Connection): Promise<FrozenFrom> {
  const { rows } = await source.query<{ value: string }>(`
    select substr(setting, length('default_transaction_read_only=') + 1) as value
      from pg_db_role_setting, unnest(setconfig) as setting
     where setrole = 0
       and setdatabase = (select oid from pg_database where datname = current_database())
       and setting like 'default\\_transaction\\_read\\_only=%'`)
  return { previous: rows[0]?.value ?? null }
}

/**
 * Stops writes on the source database: new sessions are read-only, and all sessions of others end. Idempotent.
 *
 * @returns users of sessions that our role may not end and that were left, since they do not write
 * @throws {MigrationError} 603112 may not set it, 603111 may not end a session, WritersLeft when a prepared
 *   transaction or a role's own setting would still let writes in
 */
export async function freezeWrites(context: DatabaseContext): Promise<{ tolerated: string[] }> {
  await using source = await context.source('freeze')
  try {
    await source.query(`alter database ${id(context.database)} set default_transaction_read_only = on`)
  } catch (error) {
    if (sqlState(error) !== '42501') throw error
    throw new MigrationError(
      '603112',
      `default_transaction_read_only of "${context.database}" could not be set on the source: ${errorText(error)}.`,
      {
        hint: 'Make our role a member of the owner of the database, or stop the writes yourself (pgflex.writeFreeze "Manual").',
        cause: error,
      },
    )
  }
  await waitForStartingSessions(source)
  // The setting is committed: a session that is not in this list begins read-only.
  const before = await otherSessions(source, undefined)
  const deadline = Date.now() + TERMINATE_LIMIT_MS
  const refused = new Set<string>()
  for (let left = before; left.length > 0; left = await otherSessions(source, before)) {
    const endable = left.filter((pid) => !refused.has(pid))
    if (endable.length === 0) break
    if (Date.now() > deadline) {
      throw new MigrationError(
        '603111',
        `${endable.length} sessions on the source database "${context.database}" did not end: pid ${endable.join(', ')}.`,
        { hint: 'End them, and cut over again.' },
      )
    }
    for (const pid of endable) if (!(await terminate(source, pid))) refused.add(pid)
    await source.query('select pg_sleep(0.02)')
  }
  await refuseOtherWriters(source)
  return { tolerated: await tolerate(source, [...refused]) }
}

/** What a read-only default and ended sessions do not stop. */
async function refuseOtherWriters(source: Connection): Promise<void> {
  const obstacles = await readFreezeObstacles(source)
  if (obstacles.length === 0) return
  throw new MigrationError('WritersLeft', `Writes on the source would still be let in: ${obstacles.join('; ')}.`, {
    hint: 'Mend that on the source, and cut over again.',
  })
}

/**
 * Sessions that may not be ended are those of superusers, such as the monitoring of a managed service: they
 * are left when they hold no lock of a writer.
 */
async function tolerate(source: Connection, pids: string[]): Promise<string[]> {
  if (pids.length === 0) return []
  const { rows } = await source.query<{ user: string; writes: string; superuser: string }>(
    `select a.usename as user,
            coalesce(bool_or(r.rolsuper), false) as superuser,
            bool_or(exists (
              select
                from pg_locks as l
                join pg_class as c on c.oid = l.relation
               where l.pid = a.pid
                 and l.database = (select oid from pg_database where datname = current_database())
                 and l.mode not in ('AccessShareLock', 'RowShareLock')
                 and c.relnamespace <> 'pg_catalog'::regnamespace
            )) as writes
       from pg_stat_activity as a
       left join pg_roles    as r on r.oid = a.usesysid
      where a.pid = any ($1::int[])
      group by a.usename`,
    [`{${pids.join(',')}}`],
  )
  const writers = rows.filter(({ writes, superuser }) => writes === 't' || superuser !== 't')
  if (writers.length > 0) {
    throw new MigrationError(
      '603111',
      `Sessions of ${writers.map(({ user }) => user).join(', ')} on the source cannot be ended by our role.`,
      {
        hint: 'Grant our role pg_signal_backend on the source, end the sessions of superusers yourself, or stop the writes yourself (pgflex.writeFreeze "Manual").',
      },
    )
  }
  return rows.map(({ user }) => user)
}

/**
 * A session that is starting has read the database's settings before it shows in pg_stat_activity; until its
 * start is complete it holds a lock on the database. Those that hold it now may have read the old setting:
 * when their locks are gone, they are in the list.
 */
async function waitForStartingSessions(source: Connection): Promise<void> {
  const starting = (pids: string[] | undefined): Promise<string[]> => sessionsWithStartLock(source, pids)
  const deadline = Date.now() + TERMINATE_LIMIT_MS
  const first = await starting(undefined)
  for (let left = first; left.length > 0 && Date.now() < deadline; left = await starting(first)) {
    await source.query('select pg_sleep(0.01)')
  }
}

async function sessionsWithStartLock(source: Connection, among: string[] | undefined): Promise<string[]> {
  const { rows } = await source.query<{ pid: string }>(
    `select distinct pid
       from pg_locks
      where locktype = 'object'
        and classid = 'pg_database'::regclass
        and objid = (select oid from pg_database where datname = current_database())
        and mode = 'RowExclusiveLock'
        and pid <> pg_backend_pid()
        and ($1::int[] is null or pid = any ($1::int[]))`,
    [among === undefined ? null : `{${among.join(',')}}`],
  )
  return rows.map(({ pid }) => pid)
}

/** @returns false when our role may not end that session */
async function terminate(source: Connection, pid: string): Promise<boolean> {
  try {
    await source.query('select pg_terminate_backend($1::int)', [pid])
    return true
  } catch (error) {
    if (sqlState(error) === '42501') return false
    throw error
  }
}

/**
 * Process ids of the sessions of others in this database. An ordinary role does not see the backend_type of
 * other roles' processes; those without a user are autovacuum and the like.
 */
async function otherSessions(source: Connection, among: string[] | undefined): Promise<string[]> {
  const { rows } = await source.query<{ pid: string }>(
    `select pid
       from pg_stat_activity
      where datname = current_database()
        and pid <> pg_backend_pid()
        and usesysid is not null
        and coalesce(backend_type, 'client backend') not in ('walsender', 'parallel worker')
        and application_name not like 'pgflex %'
        and ($1::int[] is null or pid = any ($1::int[]))`,
    [among === undefined ? null : `{${among.join(',')}}`],
  )
  return rows.map(({ pid }) => pid)
}

/** Lets writes in again on the source, as they were before {@link freezeWrites}. Idempotent. */
export async function unfreezeWrites(context: DatabaseContext, { previous }: FrozenFrom): Promise<void> {
  await using source = await context.source('unfreeze')
  await source.query(
    previous === null
      ? `alter database ${id(context.database)} reset default_transaction_read_only`
      : `alter database ${id(context.database)} set default_transaction_read_only = ${literal(previous)}`,
  )
}
