import { expect } from 'vitest'
import type { EmbeddedServer } from '../../../demo/embedded-postgres.ts'
import type { ServerPair } from '../../support/servers.ts'

export interface DescribedLargeObject {
  owner: string
  /** `role=rw*` of each, sorted; the owner's are named "owner". */
  rights: string
  comment: string | null
  size: string
  digest: string
}

/** Everything of the large objects of a database, as a superuser sees it. */
export async function describeLargeObjects(
  server: EmbeddedServer,
  database: string,
): Promise<Record<string, DescribedLargeObject>> {
  await using client = await server.connect(database)
  const { rows } = await client.query<DescribedLargeObject & { oid: string }>(
    `select m.oid::text, pg_get_userbyid(m.lomowner) as owner, obj_description(m.oid, 'pg_largeobject') as comment,
            coalesce((select string_agg(r.text, ' ' order by r.text)
               from (select case a.grantee when m.lomowner then 'owner' when 0 then 'public' else pg_get_userbyid(a.grantee)::text end
                              || '=' || string_agg(case a.privilege_type when 'SELECT' then 'r' else 'w' end
                              || case when a.is_grantable then '*' else '' end, '' order by a.privilege_type) as text
                       from aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) as a
                      group by a.grantee) as r), '') as rights,
            length(lo_get(m.oid))::text as size, md5(lo_get(m.oid)) as digest
       from pg_largeobject_metadata as m`,
  )
  return Object.fromEntries(rows.map(({ oid, ...object }) => [oid, object]))
}

/**
 * Expects the same large objects on both sides.
 *
 * @param roles what becomes of roles that the target does not have: an owner is another one, undefined has no rights
 * @returns those of the source
 */
export async function expectEqualLargeObjects(
  pair: ServerPair,
  database: string,
  roles: Record<string, string | undefined> = {},
): Promise<Record<string, DescribedLargeObject>> {
  const source = await describeLargeObjects(pair.source, database)
  const wanted = Object.fromEntries(
    Object.entries(source).map(([oid, object]) => [
      oid,
      {
        ...object,
        owner: object.owner in roles ? roles[object.owner] : object.owner,
        rights: object.rights
          .split(' ')
          .filter((text) => !['migrator', ...Object.keys(roles)].includes(text.split('=')[0]!))
          .join(' '),
      },
    ]),
  )
  expect(await describeLargeObjects(pair.target, database)).toEqual(wanted)
  return source
}
