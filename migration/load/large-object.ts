import type { Connection } from '../connect.ts'

/** `r` may read, `w` may write, each with `*` when it may be granted further. */
export type Rights = string

/** Key of the owner's own rights: no role has an empty name. */
export const OWNER = ''
/** Key of everybody's rights: no role can have this name. */
export const PUBLIC = 'public'

/** A large object of one side, without its content. */
export interface LargeObject {
  /** Its loid. */
  oid: number
  /** Bytes, up to 4 TB; 0 where we may not read it. */
  size: number
  owner: string
  /** By role, {@link OWNER} or {@link PUBLIC}. */
  rights: Record<string, Rights>
  comment: string | null
  readable: boolean
  writable: boolean
}

/**
 * May our role do this to large object m? has_largeobject_privilege is new in PostgreSQL 18, so this is what the
 * server itself does: the owner has no more rights than the list gives it, and all of them where there is no list.
 * https://www.postgresql.org/docs/current/ddl-priv.html
 */
export function mayAccess(privilege: 'SELECT' | 'UPDATE'): string {
  return `(current_setting('is_superuser') = 'on'
       or current_setting('lo_compat_privileges') = 'on'
       or case when m.lomacl is null then pg_has_role(m.lomowner, 'usage')
               else exists (select
                              from aclexplode(m.lomacl) as a
                             where a.privilege_type = '${privilege}'
                               and case when a.grantee = 0 then true else pg_has_role(a.grantee, 'usage') end) end)`
}

/** INV_READ of libpq-fs.h; INV_WRITE is in copy-large-objects.ts. */
const INV_READ = 0x40000
/** SEEK_END */
const FROM_END = 2

const RIGHTS = `
  select json_object_agg(g.grantee, g.rights)
    from (select p.grantee, string_agg(p.privilege, '' order by p.privilege) as rights
            from (select case when a.grantee = m.lomowner then '${OWNER}'
                              when a.grantee = 0 then '${PUBLIC}'
                              else pg_get_userbyid(a.grantee) end as grantee,
                         case a.privilege_type when 'SELECT' then 'r' else 'w' end
                           || case when bool_or(a.is_grantable and a.grantee <> m.lomowner) then '*' else '' end as privilege
                    from aclexplode(m.lomacl) as a
                   group by a.grantee, a.privilege_type) as p
           group by p.grantee) as g`

/**
 * The large objects whose oids are in a range, in their order. Call it in a transaction. pg_largeobject itself,
 * with the content, is for superusers only; sizes come from the end of each, which costs one page.
 *
 * @param range `lower` is exclusive, `upper` inclusive
 */
export async function listLargeObjects(
  connection: Connection,
  { lower, upper }: { lower: number; upper: number },
): Promise<LargeObject[]> {
  // "offset 0" keeps a descriptor from being opened once for each use of it.
  const { rows } = await connection.query<
    Record<'oid' | 'size' | 'owner' | 'rights' | 'readable' | 'writable', string> & { comment: string | null }
  >(
    `select m.oid, m.owner, m.rights, m.comment, m.readable, m.writable,
            case when m.readable
                 then (select lo_lseek64(o.fd, 0, ${FROM_END}) + lo_close(o.fd)
                         from (select lo_open(m.oid, ${INV_READ}) as fd offset 0) as o)
                 else 0 end as size
       from (select m.oid, pg_get_userbyid(m.lomowner) as owner,
                    case when m.lomacl is null then '{"${OWNER}": "rw"}' else (${RIGHTS}) end as rights,
                    d.description as comment,
                    ${mayAccess('SELECT')} as readable,
                    ${mayAccess('UPDATE')} as writable
               from pg_largeobject_metadata as m
               left join pg_description as d
                 on d.objoid = m.oid and d.classoid = 'pg_largeobject'::regclass and d.objsubid = 0
              where m.oid > $1::int8::oid and m.oid <= $2::int8::oid
             offset 0) as m
      order by m.oid`,
    [lower, upper],
  )
  return rows.map(({ oid, size, owner, rights, comment, readable, writable }) => ({
    oid: Number(oid),
    size: Number(size),
    owner,
    rights: (JSON.parse(rights ?? '{}') ?? {}) as Record<string, Rights>,
    comment,
    readable: readable === 't',
    writable: writable === 't',
  }))
}
