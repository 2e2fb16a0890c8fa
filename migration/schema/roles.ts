import { parseSync } from './parser.ts'
import type { Connection } from '../connect.ts'

/** A role of the target, as the migrating role sees it. */
export interface TargetRole {
  /** We have its rights without SET ROLE. */
  inherited: boolean
  /** We may give objects to it: from PostgreSQL 16 on, membership alone does not include that. */
  settable: boolean
}

export interface TargetRoles {
  /** Our own name on the target. */
  current: string
  roles: Map<string, TargetRole>
}

export async function readTargetRoles(target: Connection): Promise<TargetRoles> {
  const { rows } = await target.query<Record<'name' | 'current' | 'inherited' | 'settable', string>>(
    `select rolname as name, current_user as current, pg_has_role(oid, 'usage') as inherited,
            pg_has_role(oid, case when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end) as settable
       from pg_catalog.pg_roles`,
  )
  return {
    current: rows[0]!.current,
    roles: new Map(rows.map((row) => [row.name, { inherited: row.inherited === 't', settable: row.settable === 't' }])),
  }
}

/** The roles that a statement names. */
export function rolesOf(sql: string): string[] {
  const names = new Set<string>()
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit)
    else if (typeof value === 'object' && value !== null) {
      for (const [key, child] of Object.entries(value)) {
        // RoleSpec stands with and without a wrapper of its name.
        if (key === 'rolename' && typeof child === 'string') names.add(child)
        else visit(child)
      }
    }
  }
  visit(parseSync(sql).stmts)
  return [...names]
}

/** Why a role cannot be named on the target, or undefined. */
export function missingRole(name: string, { roles }: TargetRoles): string | undefined {
  return roles.has(name) ? undefined : `role "${name}" does not exist on the target`
}

/**
 * Why a role cannot be given objects on the target, or undefined.
 *
 * An owner whose rights we do not have by ourselves would shut us out of the table that we have yet to fill.
 * https://www.postgresql.org/docs/current/sql-altertable.html (OWNER TO)
 */
export function ownerObstacle(name: string, targetRoles: TargetRoles): string | undefined {
  const role = targetRoles.roles.get(name)
  if (role?.inherited && role.settable) return undefined
  return (
    missingRole(name, targetRoles) ?? `"${targetRoles.current}" on the target is not a full member of role "${name}"`
  )
}

/** Why a statement about an owner, grants or default privileges cannot be run, or undefined. */
export function roleObstacle(kind: string, sql: string, targetRoles: TargetRoles): string | undefined {
  const owner = kind.startsWith('OWNER OF ') || kind === 'DEFAULT ACL'
  if (!owner && !kind.startsWith('ACL ON ')) return undefined
  const named = rolesOf(sql)
  const obstacleOf = kind.startsWith('OWNER OF ') ? ownerObstacle : missingRole
  const missing = named.find((name) => !targetRoles.roles.has(name))
  return missing === undefined
    ? named.map((name) => obstacleOf(name, targetRoles)).find((obstacle) => obstacle !== undefined)
    : missingRole(missing, targetRoles)
}

/** One warning for each obstacle, however many statements it concerns. */
export function obstacleWarnings(skipped: { kind: string; message: string }[]): string[] {
  const counts = new Map<string, { owners: number; grants: number }>()
  for (const { kind, message } of skipped) {
    const count = counts.get(message) ?? { owners: 0, grants: 0 }
    if (kind.startsWith('OWNER OF ')) count.owners++
    else count.grants++
    counts.set(message, count)
  }
  return [...counts].map(([message, { owners, grants }]) => {
    const parts = [
      ...(owners > 0 ? [`${owners} objects keep the migrating role as their owner`] : []),
      ...(grants > 0 ? [`${grants} grants were left out`] : []),
    ]
    return `${parts.join(' and ')}: ${message}.`
  })
}
