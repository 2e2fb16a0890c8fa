import { setTimeout } from 'node:timers/promises'
import type { Connection } from '../connect.ts'
import { MigrationError } from '../errors.ts'
import { watchForSilence } from './silence.ts'

/**
 * The right to write, in the target database. The platform runs an activity at least once and may run two
 * copies of it at the same time; whoever holds the lease writes, and every transaction that writes checks
 * the fence in itself ({@link checkFence}), so that a copy that was frozen while another took over commits
 * nothing more.
 *
 * A lease is free for the taking when its holder's session is gone (its advisory lock is free: a crashed
 * holder is replaced at once) or when it has expired (a holder that is frozen with its connection open: its
 * sessions are then ended, since an open transaction of theirs could hold the row that we have to change).
 */
export interface Lease extends AsyncDisposable {
  name: string
  /** Grows with every change of hands. */
  fence: string
  /** Aborted when the lease is lost. */
  lost: AbortSignal
  /** Aborted when the server takes renewals and answers none of them, as one that hangs does: no session would tell. */
  silent: AbortSignal
  /**
   * Registers another session of the holder, to be ended by a successor that finds the holder frozen.
   *
   * @throws {MigrationError} LeaseLost when there is a successor
   */
  addSession(connection: Connection): Promise<void>
}

/** A holder that has not renewed for so long is taken to be frozen. */
const LEASE_SECONDS = 20
/** Three renewals fit into a lease, so that one slow answer loses nothing. */
const RENEW_MS = 6_000
/** ms for the end of a lease to be recorded; without that, it is free when its session has ended. */
const RELEASE_MS = 5_000

/** A terminated backend is gone within milliseconds, unless its machine is very busy: 0.1 s each. */
const FROZEN_HOLDER_TRIES = 50

/** Within one second. */
const EXPIRED_LOOKS = 20

/**
 * Takes a lease, or says that somebody else holds it.
 *
 * @param connection a session of its own for the lease: it is used for renewals until the lease is disposed
 * @returns undefined when another holder is alive
 */
export async function acquireLease(connection: Connection, name: string): Promise<Lease | undefined> {
  await connection.query(
    `insert into pgflex.lease (name, fence, expires_at) values ($1, 0, '-infinity') on conflict (name) do nothing`,
    [name],
  )
  const { rows } = await connection.query<{ locked: string; expired: string }>(
    `select pg_try_advisory_lock(hashtext('pgflex lease'), hashtext(name)) as locked, expires_at < now() as expired
       from pgflex.lease where name = $1`,
    [name],
  )
  const { locked, expired } = rows[0]!
  if (locked !== 't' && (expired !== 't' || !(await isStillExpired(connection, name)))) return undefined
  // Also after a crash: a session of the last holder may still be busy with its last statement.
  await endSessions(connection, name)
  if (locked !== 't' && !(await takeAdvisoryLock(connection, name))) return undefined
  // "for update" waits for a transaction that has checked the old fence; a renewal does not (see checkFence).
  const taken = await connection.query<{ fence: string }>(
    `with free as (select name from pgflex.lease where name = $1 for update)
     update pgflex.lease as l
        set fence = fence + 1, pids = array[pg_backend_pid()], expires_at = clock_timestamp() + make_interval(secs => $2)
       from free
      where l.name = free.name
  returning fence`,
    [name, LEASE_SECONDS],
  )
  const { fence } = taken.rows[0]!

  const lost = new AbortController()
  const silent = new AbortController()
  // A renewal may come due while another query of the lease is under way: one at a time.
  let turn: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = turn.then(work)
    turn = result.catch(() => {})
    return result
  }
  const watch = watchForSilence({
    everyMs: RENEW_MS,
    ask: () => inTurn(() => renew(connection, name, fence)).catch((error: unknown) => lost.abort(error)),
    onSilent: (ms) => silent.abort(targetSilent(name, ms)),
  })
  return {
    name,
    fence,
    lost: lost.signal,
    silent: silent.signal,
    async addSession(session) {
      const { rows: pids } = await session.query<{ pid: string }>('select pg_backend_pid() as pid')
      const { rowCount } = await inTurn(() =>
        connection.query('update pgflex.lease set pids = pids || $3::int where name = $1 and fence = $2', [
          name,
          fence,
          pids[0]!.pid,
        ]),
      )
      if (rowCount !== 1) throw leaseLost(name)
    },
    async [Symbol.asyncDispose]() {
      watch[Symbol.dispose]()
      const released = inTurn(() => release(connection, name, fence)).catch(() => {})
      await Promise.race([released, setTimeout(RELEASE_MS, undefined, { ref: false })])
    },
  }
}

async function release(connection: Connection, name: string, fence: string): Promise<void> {
  await connection.query(
    `update pgflex.lease set expires_at = '-infinity', pids = '{}' where name = $1 and fence = $2`,
    [name, fence],
  )
  await connection.query(`select pg_advisory_unlock(hashtext('pgflex lease'), hashtext($1))`, [name])
}

/**
 * A holder that has just taken the advisory lock writes its expiry at once: only a frozen one has not, a second later.
 * Copies of an activity begin together, and all but one of them come here: they go on as soon as they see it.
 */
async function isStillExpired(connection: Connection, name: string): Promise<boolean> {
  for (let look = 0; look < EXPIRED_LOOKS; look++) {
    await connection.query(`select pg_sleep(1.0 / ${EXPIRED_LOOKS})`)
    const { rows } = await connection.query('select from pgflex.lease where name = $1 and expires_at < now()', [name])
    if (rows.length === 0) return false
  }
  return true
}

/** Ends the last holder's sessions; they run under our own role, which may end them without further rights. */
async function endSessions(connection: Connection, name: string): Promise<void> {
  await connection.query(
    `select pg_terminate_backend(a.pid)
       from pgflex.lease
       cross join unnest(pids) as p (pid)
       join pg_stat_activity as a using (pid)
      where name = $1
        and a.pid <> pg_backend_pid()
        and a.datname = current_database()
        and a.application_name like 'pgflex %'`,
    [name],
  )
}

/** Waits for the advisory lock of a holder whose sessions have just been ended. */
async function takeAdvisoryLock(connection: Connection, name: string): Promise<boolean> {
  for (let attempt = 0; attempt < FROZEN_HOLDER_TRIES; attempt++) {
    const { rows } = await connection.query<{ locked: string }>(
      `select pg_try_advisory_lock(hashtext('pgflex lease'), hashtext($1)) as locked, pg_sleep(0.1)`,
      [name],
    )
    if (rows[0]!.locked === 't') return true
  }
  return false
}

async function renew(connection: Connection, name: string, fence: string): Promise<void> {
  const { rowCount } = await connection.query(
    `update pgflex.lease set expires_at = clock_timestamp() + make_interval(secs => $3) where name = $1 and fence = $2`,
    [name, fence, LEASE_SECONDS],
  )
  if (rowCount !== 1) throw leaseLost(name)
}

/**
 * Fails unless the lease still has this fence, and holds it until the end of the transaction: a successor
 * waits for this transaction, or ends it. FOR KEY SHARE conflicts with the successor's FOR UPDATE, and not
 * with the holder's own renewals, which change no key column.
 * https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS
 *
 * @throws {MigrationError} LeaseLost
 */
export async function checkFence(
  connection: Connection,
  { name, fence }: Pick<Lease, 'name' | 'fence'>,
): Promise<void> {
  const { rows } = await connection.query('select from pgflex.lease where name = $1 and fence = $2 for key share', [
    name,
    fence,
  ])
  if (rows.length !== 1) throw leaseLost(name)
}

export function leaseLost(name: string): MigrationError {
  return new MigrationError('LeaseLost', `Another copy of this activity has taken over (${name}); this one stops.`, {
    retryable: true,
  })
}

function targetSilent(name: string, ms: number): MigrationError {
  return new MigrationError('TargetSilent', `The target has not answered for ${ms / 1000} s (lease "${name}").`, {
    hint: 'Look at that server: a full disk, no memory left, or a failover under way make it hang.',
    retryable: true,
    target: 'target',
  })
}
