import type { Connection } from '../connect.ts'

/** Names a table. */
export interface TableName {
  schema: string
  name: string
}

/** A table whose rows are its own: an ordinary table or a leaf partition. */
export interface ComparedTable extends TableName {
  /** Size of the heap, bytes. */
  bytes: number
  /** Changes of an unlogged table are in no WAL: logical replication can't carry them. */
  unlogged: boolean
}

/** A column; `type` is the name of a built-in type, empty for any other. */
export interface ComparedColumn {
  name: string
  type: string
}

/**
 * All user tables of a database, by schema and name: ordinary tables and leaf partitions, without the control
 * schema, temporary tables, and tables that belong to an extension (it fills them itself).
 */
export async function listComparedTables(connection: Connection): Promise<ComparedTable[]> {
  const { rows } = await connection.query<{ schema: string; name: string; bytes: string | null; unlogged: string }>(`
    select n.nspname                            as schema,
           c.relname                            as name,
           pg_catalog.pg_relation_size(c.oid)::text as bytes,
           (c.relpersistence = 'u')::text       as unlogged
      from pg_catalog.pg_class c
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r'
       and c.relpersistence in ('p', 'u')
       and n.nspname not in ('pg_catalog', 'information_schema', 'pgflex')
       and n.nspname !~ '^pg_(toast|temp)'
       and not exists (select
                         from pg_catalog.pg_depend d
                        where d.classid = 'pg_catalog.pg_class'::regclass
                          and d.objid = c.oid
                          and d.deptype = 'e')
     order by n.nspname collate "C", c.relname collate "C"`)
  return rows.map(({ schema, name, bytes, unlogged }) => ({
    schema,
    name,
    bytes: Number(bytes ?? 0),
    unlogged: unlogged === 'true',
  }))
}

/** The columns of every table in their order, by {@link tableKey}; generated columns are included. */
export async function listComparedColumns(connection: Connection): Promise<Map<string, ComparedColumn[]>> {
  const { rows } = await connection.query<{ schema: string; table: string; name: string; type: string }>(`
    select n.nspname as schema,
           c.relname as table,
           a.attname as name,
           case when t.typnamespace = 'pg_catalog'::regnamespace then t.typname else '' end as type
      from pg_catalog.pg_attribute a
      join pg_catalog.pg_class c     on c.oid = a.attrelid
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      join pg_catalog.pg_type t      on t.oid = a.atttypid
     where c.relkind = 'r'
       and a.attnum > 0
       and not a.attisdropped
       and n.nspname not in ('pg_catalog', 'information_schema', 'pgflex')
     order by a.attrelid, a.attnum`)
  const columns = new Map<string, ComparedColumn[]>()
  for (const { schema, table, name, type } of rows) {
    const key = tableKey({ schema, name: table })
    const list = columns.get(key)
    if (list) list.push({ name, type })
    else columns.set(key, [{ name, type }])
  }
  return columns
}

/** A map key: neither part of a name can hold a zero byte. */
export function tableKey({ schema, name }: TableName): string {
  return `${schema}\0${name}`
}

/** `schema.table`, for people. */
export function tableTitle({ schema, name }: TableName): string {
  return `${schema}.${name}`
}
