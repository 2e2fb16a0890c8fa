import type { Connection } from '../connect.ts'

/** What validation needs to know of a server; read in one round trip or two, judged elsewhere. */
export interface ServerFacts {
  /** server_version_num, such as 170010 */
  versionNumber: number
  version: string
  /** Tells two servers apart: their start, port and version. */
  identity: string
  walLevel: string
  maxReplicationSlots: number
  usedReplicationSlots: number
  maxWalSenders: number
  usedWalSenders: number
  role: { name: string; superuser: boolean; replication: boolean; createDb: boolean; createRole: boolean }
}

export async function readServerFacts(connection: Connection): Promise<ServerFacts> {
  const { rows } = await connection.query<Record<string, string>>(`
    select current_setting('server_version_num')     as version_number,
           current_setting('server_version')         as version,
           concat_ws(' ', pg_postmaster_start_time(), current_setting('port'), version()) as identity,
           current_setting('wal_level')              as wal_level,
           current_setting('max_replication_slots')  as max_replication_slots,
           (select count(*) from pg_replication_slots)  as used_replication_slots,
           current_setting('max_wal_senders')        as max_wal_senders,
           (select count(*) from pg_stat_replication)   as used_wal_senders,
           rolname, rolsuper, rolcreatedb, rolcreaterole,
           -- RDS and Aurora give the right by membership.
           rolreplication or exists (
             select from pg_roles as r
              where r.rolname in ('rds_replication', 'rds_superuser')
                and pg_has_role(r.oid, 'member')
           ) as replication
      from pg_roles
     where rolname = current_user`)
  const row = rows[0]!
  return {
    versionNumber: Number(row['version_number']),
    version: row['version']!,
    identity: row['identity']!,
    walLevel: row['wal_level']!,
    maxReplicationSlots: Number(row['max_replication_slots']),
    usedReplicationSlots: Number(row['used_replication_slots']),
    maxWalSenders: Number(row['max_wal_senders']),
    usedWalSenders: Number(row['used_wal_senders']),
    role: {
      name: row['rolname']!,
      superuser: row['rolsuper'] === 't',
      replication: row['replication'] === 't' || row['rolsuper'] === 't',
      createDb: row['rolcreatedb'] === 't' || row['rolsuper'] === 't',
      createRole: row['rolcreaterole'] === 't' || row['rolsuper'] === 't',
    },
  }
}

/** The major version: 17 of 170010, 9.6 of 90624. */
export function majorVersion(versionNumber: number): number {
  return versionNumber >= 100000 ? Math.floor(versionNumber / 10000) : Math.floor(versionNumber / 100) / 100
}
