import type { Connection } from '../../connect.ts'
import type { TableName } from '../../load/tables.ts'

/** pg_attribute of the source, dropped ones as well. */
export interface SourceAttribute {
  attnum: number
  name: string
  dropped: boolean
  /** The transaction that last wrote this row of the catalog: of a dropped attribute, the one that dropped it. */
  xid: number
  /** 0 of a dropped attribute, like its name and its missing value: they are gone. */
  typeOid: number
  typeModifier: number
  /** As SQL. */
  type: string
  notNull: boolean
  /** Expression of its default or of its generation; null also where it was not asked for. */
  expression: string | null
  /**
   * Rows that were there when the column was added have this value, in PostgreSQL's text; undefined when there is none.
   * https://www.postgresql.org/docs/current/catalog-pg-attribute.html (attmissingval)
   */
  missing?: string
  /** a, d, or empty. */
  identity: string
  /** s, v, or empty. */
  generated: string
  /** It comes from a parent. */
  inherited: boolean
  /** Where it is not that of the type, as SQL. */
  collation: string | null
}

/** A table as the source's catalog has it now, which may be later than the place in the stream. */
export interface SourceDefinition extends TableName {
  oid: number
  filenode: number
  attributes: SourceAttribute[]
  /** Live columns of all its ancestors by name; null when it has none. */
  parentColumns: Record<string, Pick<SourceAttribute, 'expression' | 'notNull'>> | null
}

const versions = new WeakMap<Connection, Promise<number>>()

/** server_version_num, asked for once in a session. */
export function sourceVersion(source: Connection): Promise<number> {
  let version = versions.get(source)
  if (!version) {
    version = source
      .query<{ version: string }>(`select current_setting('server_version_num') as version`)
      .then(({ rows }) => Number(rows[0]!.version))
    versions.set(source, version)
  }
  return version
}

/**
 * Reads tables by their object ids; one that is gone is not in the result. No lock is waited for, but with
 * expressions: from PostgreSQL 17 on, printing one waits for whoever is altering the table.
 */
export async function readSourceDefinitions(
  source: Connection,
  oids: readonly number[],
  { expressions = false } = {},
): Promise<Map<number, SourceDefinition>> {
  // Missing values are new in PostgreSQL 11; before, a column with a default is written into every row.
  // An array of one element, of whatever type: as text[] its element is the text of the value.
  const missing =
    (await sourceVersion(source)) >= 110_000
      ? '(case when a.atthasmissing then a.attmissingval::text::text[] end)[1]'
      : 'null'
  const expression = (of: string): string => (expressions ? `pg_get_expr(${of}.adbin, ${of}.adrelid)` : 'null')
  const { rows } = await source.query<{ definition: string }>(
    `select json_build_object(
              'oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname, 'filenode', c.relfilenode::int8,
              'parentColumns', (
                with recursive ancestor (oid) as (
                  select i.inhparent from pg_inherits i where i.inhrelid = c.oid
                   union
                  select i.inhparent from ancestor join pg_inherits i on i.inhrelid = ancestor.oid)
                select json_object_agg(p.attname, json_build_object('expression', ${expression('pd')}, 'notNull', p.attnotnull))
                  from ancestor
                  join pg_attribute p on p.attrelid = ancestor.oid and p.attnum > 0 and not p.attisdropped
                  left join pg_attrdef pd on pd.adrelid = p.attrelid and pd.adnum = p.attnum),
              'attributes', coalesce(
                (select json_agg(json_build_object(
                          'attnum', a.attnum,
                          'name', a.attname,
                          'dropped', a.attisdropped,
                          'xid', a.xmin::text::int8,
                          'typeOid', a.atttypid::int8,
                          'typeModifier', a.atttypmod,
                          'type', case when not a.attisdropped then format_type(a.atttypid, a.atttypmod) else '' end,
                          'notNull', a.attnotnull,
                          'expression', ${expression('d')},
                          'missing', ${missing},
                          'identity', coalesce(to_jsonb(a) ->> 'attidentity', ''),
                          'generated', coalesce(to_jsonb(a) ->> 'attgenerated', ''),
                          'inherited', a.attinhcount > 0,
                          'collation', case when a.attcollation <> t.typcollation
                                            then format('%I.%I', con.nspname, co.collname) end) order by a.attnum)
                   from pg_attribute a
                   left join pg_type t on t.oid = a.atttypid
                   left join pg_collation co on co.oid = a.attcollation
                   left join pg_namespace con on con.oid = co.collnamespace
                   left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                  where a.attrelid = c.oid and a.attnum > 0), '[]'))::text as definition
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
      where c.oid = any ($1::oid[])`,
    [oids],
  )
  const definitions = rows.map(({ definition }) => {
    const table = JSON.parse(definition) as SourceDefinition
    for (const attribute of table.attributes) if (attribute.missing === null) delete attribute.missing
    return table
  })
  return new Map(definitions.map((table) => [table.oid, table]))
}

/** Types in SQL, as the source says them: '???' for one that it no longer has. */
export async function formatTypes(
  source: Connection,
  types: readonly { typeOid: number; typeModifier: number }[],
): Promise<string[]> {
  const { rows } = await source.query<{ type: string }>(
    `select format_type(oid, modifier) as type
       from unnest($1::oid[], $2::int[]) with ordinality as t (oid, modifier, n) order by n`,
    [types.map(({ typeOid }) => typeOid), types.map(({ typeModifier }) => typeModifier)],
  )
  return rows.map(({ type }) => type)
}
