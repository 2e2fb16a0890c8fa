import type { Connection } from '../connect.ts'
import { tableKey, type TableName } from './compared-table.ts'

/** A column of a key. */
export interface KeyColumn {
  name: string
  /** As SQL spells it, without a length: a cast to it cuts nothing off. */
  type: string
}

/** What tells the rows of a table apart. */
export interface RowIdentity {
  /** None: rows are told apart by their whole content. */
  columns: KeyColumn[]
  /** The key sorts alike on every server, so that a range of it is the same range on both sides. */
  ordered: boolean
}

/**
 * Built-in types whose order is that of their values alone. The order of texts follows the collation library of the
 * server, that of an enum its definition. https://www.postgresql.org/docs/current/collation.html
 */
const ORDERED_TYPES = ['int2', 'int4', 'int8', 'oid', 'uuid', 'date', 'timestamp', 'timestamptz', 'numeric', 'bytea']

/**
 * The keys of all tables, by {@link tableKey}: the primary key, else the replica identity's index, else another
 * unique index of NOT NULL columns. Tables without one are left out.
 */
export async function readRowIdentities(connection: Connection): Promise<Map<string, RowIdentity>> {
  const { rows } = await connection.query<
    TableName & { index: string; column: string; type: string; ordered: 't' | 'f' }
  >(
    `select n.nspname as schema, c.relname as name, chosen.indexrelid as index, a.attname as column,
            pg_catalog.format_type(a.atttypid, -1) as type,
            t.typnamespace = 'pg_catalog'::regnamespace and t.typname = any ($1) as ordered
       from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       cross join lateral (
         select i.indexrelid, i.indkey
           from pg_catalog.pg_index i
          where i.indrelid = c.oid and i.indisunique and i.indimmediate and i.indisvalid
            and i.indpred is null and i.indexprs is null
            and not exists (select from unnest(i.indkey::int2[]) as k (attnum)
                              join pg_catalog.pg_attribute ka on ka.attrelid = c.oid and ka.attnum = k.attnum
                             where not ka.attnotnull)
          order by i.indisprimary desc, i.indisreplident desc, i.indexrelid
          limit 1) as chosen
       cross join lateral unnest(chosen.indkey::int2[]) with ordinality as part (attnum, position)
       join pg_catalog.pg_index x     on x.indexrelid = chosen.indexrelid and part.position <= coalesce((to_jsonb(x) ->> 'indnkeyatts')::int, x.indnatts)
       join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = part.attnum
       join pg_catalog.pg_type t      on t.oid = a.atttypid
      where c.relkind = 'r'
      order by c.oid, part.position`,
    [ORDERED_TYPES],
  )
  const identities = new Map<string, RowIdentity>()
  for (const { schema, name, column, type, ordered } of rows) {
    const key = tableKey({ schema, name })
    const identity = identities.get(key) ?? { columns: [], ordered: true }
    identity.columns.push({ name: column, type })
    identity.ordered &&= ordered === 't'
    identities.set(key, identity)
  }
  return identities
}
