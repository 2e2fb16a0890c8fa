import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, leaseLost, type Lease } from '../control/lease.ts'
import { MigrationError } from '../errors.ts'
import { loadModule } from './parser.ts'

/**
 * What pg_dump's preamble sets, in our sessions instead: its settings do not have to be known to the target.
 * Bodies of functions are not checked, for they may refer to what comes later.
 */
const DUMP_SETTINGS = `
  set search_path = '';
  set check_function_bodies = false;
  set xmloption = content;
  set client_min_messages = warning;
  set default_tablespace = '';
  set default_table_access_method = heap`

/** Another copy of the activity is close to its end more often than not: s. */
const WAIT_FOR_LEASE_SECONDS = 60

/** No other work's: sessions of this name may be ended by whoever has the lease. */
const SESSION_PURPOSE = 'schema statements'

/** The holder of the lease `schema`, with as many sessions as its work takes. */
export interface SchemaSessions extends AsyncDisposable {
  lease: Lease
  /** Opens a session of the holder; it ends with the lease. */
  open(): Promise<Connection>
}

/**
 * Takes the lease `schema`, waiting a while for another copy of the activity.
 *
 * @throws {MigrationError} Busy
 */
export async function openSchemaSessions(context: DatabaseContext): Promise<SchemaSessions> {
  // Statements are parsed again by whoever runs them: the parser begins to load with its import, and may not be there yet.
  await loadModule()
  await using stack = new AsyncDisposableStack()
  const connection = stack.use(await context.target('schema lease'))
  const lease = stack.use(await waitForLease(context, connection))
  const sessions = stack.use(new AsyncDisposableStack())
  await endOtherSessions(connection)
  // An index may take hours: a host that stops, or a user who cancels, does not wait for it.
  const stop = (): void => void endOtherSessions(connection).catch(() => {})
  context.draining.addEventListener('abort', stop)
  stack.defer(() => context.draining.removeEventListener('abort', stop))
  const open = async (): Promise<Connection> => {
    const session = sessions.use(await context.target(SESSION_PURPOSE))
    await session.query(DUMP_SETTINGS)
    await lease.addSession(session)
    return session
  }
  const owned = stack.move()
  return { lease, open, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/**
 * Ends sessions of a former holder that died: the server goes on with their statement until it has something to
 * say to the client. Whoever holds the lease may take all sessions of this purpose for such ones, or for its own.
 */
async function endOtherSessions(connection: Connection): Promise<void> {
  await connection.query(
    `select pg_terminate_backend(pid)
       from pg_stat_activity
      where application_name = $1 and datname = current_database() and pid <> pg_backend_pid()`,
    [`pgflex ${SESSION_PURPOSE}`],
  )
}

async function waitForLease({ draining }: DatabaseContext, connection: Connection): Promise<Lease> {
  const deadline = Date.now() + WAIT_FOR_LEASE_SECONDS * 1000
  for (;;) {
    const lease = await acquireLease(connection, 'schema')
    if (lease) return lease
    if (draining.aborted || Date.now() > deadline) {
      throw new MigrationError('Busy', 'Another copy of this activity is at work on the schema of the target.', {
        retryable: true,
      })
    }
    await sleep(250, undefined, { signal: draining }).catch(() => {})
  }
}

/** @throws {MigrationError} LeaseLost */
export function throwIfLost({ name, lost }: Lease): void {
  if (lost.aborted) throw leaseLost(name)
}
