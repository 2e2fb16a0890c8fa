import { missingRole, ownerObstacle, type TargetRoles } from '../schema/roles.ts'
import { id, literal } from '../sql.ts'
import type { LargeObjectFacts } from './large-object-facts.ts'
import { OWNER, PUBLIC, type LargeObject, type Rights } from './large-object.ts'

type Described = Pick<LargeObject, 'oid' | 'owner' | 'rights' | 'comment'>

/**
 * What a large object of the source should look like on the target: an owner who cannot own it there is replaced by
 * our role; rights of roles that are not there are left out. {@link rightsWarnings} tells.
 */
export function wantedOnTarget<T extends Described>(object: T, roles: TargetRoles): T {
  const owner = ownerObstacle(object.owner, roles) === undefined ? object.owner : roles.current
  return { ...object, owner, rights: rightsUnder(owner, object.rights, roles) }
}

/** Rights by role, where the rights of somebody who owns the object are the owner's. */
function rightsUnder(owner: string, rights: Record<string, Rights>, roles?: TargetRoles): Record<string, Rights> {
  const result: Record<string, Rights> = {}
  for (const [role, given] of Object.entries(rights)) {
    if (role === owner) result[OWNER] = union(result[OWNER], given.replaceAll('*', ''))
    else if (role === OWNER || role === PUBLIC || !roles || roles.roles.has(role)) {
      result[role] = union(result[role], given)
    }
  }
  return result
}

function union(some: Rights | undefined, more: Rights): Rights {
  return ['r', 'w']
    .map((right) => {
      const given = [some ?? '', more].flatMap((rights) => rights.match(new RegExp(`${right}\\*?`)) ?? [])
      return given.find((text) => text.endsWith('*')) ?? given[0] ?? ''
    })
    .join('')
}

/**
 * Statements that make a large object of the target look as wanted; none when it does. All of them can be run by a
 * member of the present owner and of the future one.
 */
export function rightsStatements(wanted: Described, present: Described): string[] {
  const object = `large object ${wanted.oid}`
  const statements: string[] = []
  if (present.owner !== wanted.owner) statements.push(`alter ${object} owner to ${id(wanted.owner)}`)
  // The server itself turns the old owner's rights into the new one's.
  const given = rightsUnder(wanted.owner, present.rights)
  for (const role of new Set([...Object.keys(given), ...Object.keys(wanted.rights)])) {
    const [before, after] = [given[role] ?? '', wanted.rights[role] ?? '']
    if (before === after) continue
    const grantee = role === OWNER ? id(wanted.owner) : role === PUBLIC ? 'public' : id(role)
    if (before !== '') statements.push(`revoke all on ${object} from ${grantee}`)
    for (const [, right, grantable] of after.matchAll(/([rw])(\*?)/g)) {
      const privilege = right === 'r' ? 'select' : 'update'
      statements.push(`grant ${privilege} on ${object} to ${grantee}${grantable === '*' ? ' with grant option' : ''}`)
    }
  }
  if (present.comment !== wanted.comment) {
    statements.push(`comment on ${object} is ${wanted.comment === null ? 'null' : literal(wanted.comment)}`)
  }
  return statements
}

/** Which owners and grants cannot be carried over, a sentence for each reason. */
export function rightsWarnings({ owners, grantees }: LargeObjectFacts, roles: TargetRoles): string[] {
  return [
    ...owners.map(({ role, objects }) => ({
      what: `${objects} large ${objects === 1 ? 'object keeps' : 'objects keep'} the migrating role as owner`,
      obstacle: ownerObstacle(role, roles),
    })),
    ...grantees.map(({ role, objects }) => ({
      what: `Grants on ${objects} large ${objects === 1 ? 'object' : 'objects'} were left out`,
      obstacle: missingRole(role, roles),
    })),
  ].flatMap(({ what, obstacle }) => (obstacle === undefined ? [] : [`${what}: ${obstacle}.`]))
}
