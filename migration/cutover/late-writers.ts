import type { DatabaseContext } from '../context.ts'
import { MigrationError } from '../errors.ts'

/** Sessions in the message. */
const NAMED = 5

/**
 * The error for writes after the end: somebody wrote whom the freeze, or the user, has not stopped. Names who is
 * connected to the source, those that are writing first: the freeze has ended all sessions that were there before.
 */
export async function lateWrites(context: DatabaseContext, changes: number | 'Some'): Promise<MigrationError> {
  const sessions = await readSessions(context).catch((): string[] => [])
  const shown = sessions.slice(0, NAMED).join(', ')
  const rest = sessions.length > NAMED ? ` and ${sessions.length - NAMED} more` : ''
  const connected = sessions.length === 0 ? '' : ` Connected there now: ${shown}${rest}.`
  return new MigrationError(
    'LateWrites',
    `${changes} rows were changed on the source after its writes were meant to have stopped.${connected}`,
    {
      hint: 'Stop every writer of this database (applications, jobs, subscriptions), and cut over again.',
    },
  )
}

async function readSessions(context: DatabaseContext): Promise<string[]> {
  await using source = await context.source('late writers')
  const { rows } = await source.query<{ session: string }>(`
    select format('%s%s%s (pid %s)', usename, ' ' || nullif(application_name, ''), ' from ' || client_addr, pid) as session
      from pg_stat_activity
     where datname = current_database()
       and pid <> pg_backend_pid()
       and usesysid is not null
       and coalesce(backend_type, 'client backend') = 'client backend'
       and application_name not like 'pgflex %'
     order by backend_xid is null, pid`)
  return rows.map(({ session }) => session)
}
