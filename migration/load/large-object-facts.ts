import type { Connection } from '../connect.ts'
import { id } from '../sql.ts'
import { mayAccess } from './large-object.ts'

/** What there is to know of all large objects of the source at once. */
export interface LargeObjectFacts {
  objects: number
  /** Those that our role may not read, and the oids of the first of them. */
  unreadable: { objects: number; oids: string[] }
  /** Who owns how many, and who was given rights on how many. */
  owners: RoleCount[]
  grantees: RoleCount[]
}

interface RoleCount {
  role: string
  objects: number
}

/** Oids in one message before the rest is counted. */
const OIDS_SHOWN = 5

/** Looks once at each kind of owner and rights, not once at each of many million objects. */
export async function readLargeObjectFacts(source: Connection): Promise<LargeObjectFacts> {
  const { rows } = await source.query<{ facts: string }>(
    `with kind as (
       select m.lomowner, m.acl, m.acl::aclitem[] as lomacl, m.objects
         from (select lomowner, lomacl::text as acl, count(*) as objects
                 from pg_largeobject_metadata
                group by lomowner, lomacl::text) as m
     ), checked as (
       select m.*, ${mayAccess('SELECT')} as readable from kind as m
     )
     select json_build_object(
       'objects',    (select coalesce(sum(objects), 0) from kind),
       'unreadable', json_build_object(
         'objects',  (select coalesce(sum(objects), 0) from checked where not readable),
         'oids',     (select coalesce(json_agg(first.oid::text order by first.oid), '[]')
                        from (select m.oid
                                from pg_largeobject_metadata as m
                               where exists (select from checked where not readable)
                                 and exists (select
                                               from checked as c
                                              where not c.readable and c.lomowner = m.lomowner
                                                and c.acl is not distinct from m.lomacl::text)
                               order by m.oid
                               limit ${OIDS_SHOWN}) as first)),
       'owners',     (select coalesce(json_agg(json_build_object('role', o.role, 'objects', o.objects) order by o.role), '[]')
                        from (select pg_get_userbyid(lomowner) as role, sum(objects) as objects
                                from kind group by lomowner) as o),
       'grantees',   (select coalesce(json_agg(json_build_object('role', g.role, 'objects', g.objects) order by g.role), '[]')
                        from (select pg_get_userbyid(a.grantee) as role, sum(k.objects) as objects
                                from kind as k cross join lateral (
                                       select distinct grantee from aclexplode(k.lomacl)
                                        where grantee not in (0, k.lomowner)) as a
                               group by a.grantee) as g)) as facts`,
  )
  return JSON.parse(rows[0]!.facts) as LargeObjectFacts
}

/** What our role may not read, in words, with the statements that allow it. */
export function unreadableMessage({ unreadable }: LargeObjectFacts, user: string): { message: string; hint: string } {
  const { objects, oids } = unreadable
  const rest = objects - oids.length
  return {
    message: `User "${user}" may not read ${objects === 1 ? 'large object' : 'these large objects:'} ${oids.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}.`,
    hint: `Run on the source: ${oids.map((oid) => `grant select on large object ${oid} to ${id(user)};`).join(' ')} or, for all of an owner: grant <owner> to ${id(user)};`,
  }
}
