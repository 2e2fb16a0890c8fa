import type { Connection } from '../connect.ts'

/**
 * What lets writes in on the source although the database is read-only by default and all sessions have ended, each
 * with what is to be done about it: prepared transactions, which have to be ended by whoever knows of them, and roles
 * with a setting of their own, which goes before that of the database.
 * https://www.postgresql.org/docs/current/sql-alterrole.html
 */
export async function readFreezeObstacles(source: Connection): Promise<string[]> {
  const { rows } = await source.query<{ what: string }>(`
    select format('prepared transaction %L of %s: commit or roll back', gid, owner) as what
      from pg_prepared_xacts
     where database = current_database()
    union all
    select format('role %I has its own setting: alter role %I%s reset default_transaction_read_only;', r.rolname, r.rolname,
                  case when s.setdatabase <> 0 then format(' in database %I', current_database()) end)
      from pg_db_role_setting as s
      join pg_roles           as r on r.oid = s.setrole
     where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
       and exists (select from unnest(s.setconfig) as c where c ~* '^default_transaction_read_only=(of|off|f|fa|fal|fals|false|n|no|0)$')`)
  return rows.map(({ what }) => what)
}

/** s; a transaction of an application is over sooner, and one of a report or a batch is worth knowing of. */
const LONG_SECONDS = 60

/**
 * Transactions of others in this database that have run for a while: a freeze ends them, and their work is lost. Those
 * of other roles are shown to members of pg_read_all_stats only.
 */
export async function readLongTransactions(source: Connection, seconds = LONG_SECONDS): Promise<string[]> {
  const { rows } = await source.query<{ what: string }>(
    `select format('%s%s (pid %s), %s min', usename, ' ' || nullif(application_name, ''), pid,
                   round(extract(epoch from clock_timestamp() - xact_start) / 60)) as what
       from pg_stat_activity
      where datname = current_database()
        and pid <> pg_backend_pid()
        and usesysid is not null
        and coalesce(backend_type, 'client backend') = 'client backend'
        and application_name not like 'pgflex %'
        and xact_start < clock_timestamp() - $1 * interval '1 second'
      order by xact_start`,
    [seconds],
  )
  return rows.map(({ what }) => what)
}
