import type { Connection } from '../connect.ts'
import type { ConstraintTarget } from './constraint-statements.ts'
import type { Leaf } from './partition-foreign-keys.ts'

/** Looks up what the target allows for constraints: partitioned tables, what is below them, the version. */
export async function readConstraintTarget(session: Connection): Promise<ConstraintTarget> {
  const { rows } = await session.query<{ name: string }>(
    `select n.nspname || '.' || c.relname as name
       from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
      where c.relkind = 'p'`,
  )
  const version = await session.query<{ version: string }>(`select current_setting('server_version_num') as version`)
  return {
    partitioned: new Set(rows.map(({ name }) => name)),
    leaves: rows.length === 0 ? new Map() : await readLeaves(session),
    version: Number(version.rows[0]!.version),
  }
}

async function readLeaves(session: Connection): Promise<Map<string, Leaf[]>> {
  const { rows } = await session.query<{ name: string; leaves: string }>(
    `with recursive below (top, oid) as (
       select i.inhparent, i.inhrelid
         from pg_catalog.pg_inherits as i
         join pg_catalog.pg_class    as c on c.oid = i.inhparent and c.relkind = 'p'
        union
       select b.top, i.inhrelid from below as b join pg_catalog.pg_inherits as i on i.inhparent = b.oid)
     select tn.nspname || '.' || t.relname as name,
            json_agg(json_build_object(
              'schema', n.nspname, 'name', c.relname,
              'constraints', (select coalesce(json_agg(o.conname), '[]') from pg_catalog.pg_constraint as o
                               where o.conrelid = c.oid)) order by n.nspname, c.relname) as leaves
       from below
       join pg_catalog.pg_class     as t  on t.oid = below.top
       join pg_catalog.pg_namespace as tn on tn.oid = t.relnamespace
       join pg_catalog.pg_class     as c  on c.oid = below.oid
       join pg_catalog.pg_namespace as n  on n.oid = c.relnamespace
      where c.relkind <> 'p' and t.relkind = 'p'
      group by 1
     having bool_and(c.relkind = 'r')`,
  )
  return new Map(rows.map(({ name, leaves }) => [name, JSON.parse(leaves) as Leaf[]]))
}
