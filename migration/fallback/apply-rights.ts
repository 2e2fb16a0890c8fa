import type { Connection } from '../connect.ts'
import { MigrationError, sqlState } from '../errors.ts'
import { id } from '../sql.ts'

const INSUFFICIENT_PRIVILEGE = '42501'
/** plan_cache_mode of the session that applies is new in it. */
const OLDEST = 120_000

/** What a database needs to have changes applied to it while it has its triggers and foreign keys. */
export interface ApplyRights {
  versionNumber: number
  role: string
  /** session_replication_role may be set: nothing fires, and no foreign key is checked. */
  mayBeReplica: boolean
  /** `trigger on schema.table` of triggers that fire nevertheless. */
  alwaysTriggers: string[]
}

/** Probes it: sets, reads back, resets. */
export async function readApplyRights(connection: Connection): Promise<ApplyRights> {
  const { rows } = await connection.query<{ version: string; role: string; triggers: string }>(`
    select current_setting('server_version_num') as version, current_user as role,
           (select coalesce(json_agg(format('%I on %I.%I', t.tgname, n.nspname, c.relname) order by 1), '[]')
              from pg_trigger   as t
              join pg_class     as c on c.oid = t.tgrelid
              join pg_namespace as n on n.oid = c.relnamespace
             where not t.tgisinternal and t.tgenabled in ('A', 'R')) as triggers`)
  const { version, role, triggers } = rows[0]!
  return {
    versionNumber: Number(version),
    role,
    mayBeReplica: await mayBeReplica(connection),
    alwaysTriggers: JSON.parse(triggers) as string[],
  }
}

async function mayBeReplica(connection: Connection): Promise<boolean> {
  try {
    await connection.query('set session_replication_role = replica')
    const { rows } = await connection.query<{ value: string }>(
      `select current_setting('session_replication_role') as value`,
    )
    await connection.query('reset session_replication_role')
    return rows[0]!.value === 'replica'
  } catch (error) {
    if (sqlState(error) !== INSUFFICIENT_PRIVILEGE) throw error
    return false
  }
}

/** What is missing, each with what to do; pure. */
export function missingApplyRights({ versionNumber, role, mayBeReplica: may, alwaysTriggers }: ApplyRights): string[] {
  const missing: string[] = []
  if (versionNumber < OLDEST) {
    missing.push(
      'Changes can be brought back to PostgreSQL 12 or newer, and the old source is older. Choose fallback "None".',
    )
  }
  if (!may) {
    missing.push(
      `User "${role}" may not set session_replication_role on the old source, so that triggers would fire a second time for each change that comes back. ` +
        (versionNumber >= 150_000
          ? `Run there as a superuser: grant set on parameter session_replication_role to ${id(role)};`
          : 'Before PostgreSQL 15 only a superuser may (on RDS and Aurora a member of rds_superuser): migrate with such a role, or choose fallback "None".'),
    )
  }
  if (alwaysTriggers.length > 0) {
    missing.push(
      `These triggers of the old source are enabled as ALWAYS or REPLICA, and would fire for changes that come back: ${alwaysTriggers.join(', ')}. Run for each: alter table … enable trigger …;`,
    )
  }
  return missing
}

/** @throws {MigrationError} FallbackDenied */
export async function requireApplyRights(connection: Connection): Promise<void> {
  const missing = missingApplyRights(await readApplyRights(connection))
  if (missing.length === 0) return
  throw new MigrationError('FallbackDenied', `Changes cannot be brought back to the old source. ${missing.join(' ')}`, {
    target: 'source',
  })
}
