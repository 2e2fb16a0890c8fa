import type { Connection } from '../connect.ts'
import type { TableFilter } from '../model/table-filter.ts'

export interface SourceColumn {
  name: string
  /** With its modifiers, as format_type gives it: `numeric(10,2)`. */
  type: string
  /** pg_type.typname of a type that PostgreSQL itself brings along (arrays begin with `_`), null for all others. */
  builtin: string | null
  /** Computed by the server (stored or virtual): never copied. */
  generated: boolean
  identity: boolean
}

/** A table that holds rows of its own. */
export interface SourceTable {
  oid: number
  schema: string
  name: string
  /** In the order of the table, with the generated ones. */
  columns: SourceColumn[]
  /** Pages of the heap and rows, as the last VACUUM or ANALYZE left them; 0 when there was none. */
  pages: number
  rows: number
  /** Heap, TOAST and maps on disk: pg_table_size. */
  bytes: number
  /** pg_class.relreplident: default, nothing, full, index. */
  replicaIdentity: 'd' | 'n' | 'f' | 'i'
  hasPrimaryKey: boolean
  /** The column of a primary key that is a single integer: ranges of it can be read by its index. */
  integerKey: string | null
  /** Stored in pages of PostgreSQL's own heap, and not by another access method. */
  heap: boolean
  unlogged: boolean
  /** A leaf of a partitioned table. */
  isPartition: boolean
}

export type TableName = Pick<SourceTable, 'schema' | 'name'>

/**
 * Schemas of users: neither the system's, nor temporary ones, nor our own (the source may have been a target before).
 */
const USER_SCHEMA = `n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgflex')`

/**
 * Tables that belong to an extension come with it, and the schema dump leaves them out. Those among them that
 * an extension marks as configuration (pg_extension_config_dump) hold rows of the user: copy-extension-tables.ts.
 * https://www.postgresql.org/docs/current/extend-extensions.html#EXTEND-EXTENSIONS-CONFIG-TABLES
 */
const NOT_OF_AN_EXTENSION = `not exists (
  select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')`

/**
 * Every table with rows of its own: ordinary tables, leaf partitions, and each parent and child of inheritance
 * by itself; not temporary ones, not foreign ones ({@link listForeignTables}). Measuring their size takes an ACCESS
 * SHARE lock on each for a moment.
 *
 * @param only these tables alone, without their sizes and so without locks: `bytes` is 0
 */
export async function listTables(
  connection: Connection,
  filter: TableFilter,
  only?: readonly TableName[],
): Promise<SourceTable[]> {
  const { rows: servers } = await connection.query<{ version: string }>(
    `select current_setting('server_version_num') as version`,
  )
  const version = Number(servers[0]!.version)
  // Columns of the catalogs that are there from some version on. To ask for them through to_jsonb(), which passes over
  // those that are missing, takes as long as all the rest of this query.
  const since = (major: number, expression: string, before: string): string =>
    version >= major * 10_000 ? expression : before
  const { rows } = await connection.query<{ definition: string }>(
    `select json_build_object(
              'oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname,
              'pages', greatest(c.relpages, 0), 'rows', greatest(c.reltuples, 0)::int8,
              'bytes', ${only === undefined ? 'coalesce(pg_table_size(c.oid), 0)' : '0'},
              'replicaIdentity', c.relreplident,
              'hasPrimaryKey', exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary),
              'integerKey', (
                select a.attname from pg_index i
                  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
                 where i.indrelid = c.oid and i.indisprimary and i.indnatts = 1
                   and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)),
              'heap', ${since(12, `c.relam in (0, ${HEAP_AM_OID})`, 'true')},
              'unlogged', c.relpersistence = 'u',
              'isPartition', ${since(10, 'c.relispartition', 'false')},
              'columns', coalesce(
                (select json_agg(json_build_object(
                          'name', a.attname,
                          'type', format_type(a.atttypid, a.atttypmod),
                          'builtin', case when t.oid < ${FIRST_NORMAL_OID} then t.typname end,
                          'generated', ${since(12, `a.attgenerated <> ''`, 'false')},
                          'identity', ${since(10, `a.attidentity <> ''`, 'false')}) order by a.attnum)
                   from pg_attribute a
                   join pg_type t on t.oid = a.atttypid
                  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]'))::text as definition
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'r' and c.relpersistence in ('p', 'u') and ${USER_SCHEMA} and ${NOT_OF_AN_EXTENSION}
        and ($1::name[] is null or (n.nspname, c.relname) in (select * from unnest($1::name[], $2::name[])))
      order by n.nspname, c.relname`,
    only === undefined ? [null, null] : [only.map(({ schema }) => schema), only.map(({ name }) => name)],
  )
  return rows
    .map(({ definition }) => JSON.parse(definition) as SourceTable)
    .filter(({ schema, name }) => filter(schema, name))
}

/** A table by its name, with the little that can be had of ten thousand at once. */
export interface ListedTable extends TableName {
  oid: string
  unlogged: boolean
}

/** The tables of {@link listTables} in short: without locks, and cheap enough to be asked for again and again. */
export async function listTableNames(connection: Connection, filter: TableFilter): Promise<ListedTable[]> {
  const { rows } = await connection.query<Record<keyof ListedTable, string>>(
    `select c.oid, n.nspname as schema, c.relname as name, c.relpersistence = 'u' as unlogged
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'r' and c.relpersistence in ('p', 'u') and ${USER_SCHEMA} and ${NOT_OF_AN_EXTENSION}
      order by n.nspname, c.relname`,
  )
  return rows
    .map(({ oid, schema, name, unlogged }) => ({ oid, schema, name, unlogged: unlogged === 't' }))
    .filter(({ schema, name }) => filter(schema, name))
}

/** pg_am.oid of "heap", the same everywhere (catalog/pg_am.dat). */
const HEAP_AM_OID = 2

/** Object ids below it are those of initdb: the same types on every server (access/transam.h, FirstNormalObjectId). */
const FIRST_NORMAL_OID = 16384

/** Foreign tables, which hold no rows here: their definition is moved, their rows stay where they are. */
export async function listForeignTables(connection: Connection, filter: TableFilter): Promise<TableName[]> {
  const { rows } = await connection.query<TableName>(
    `select n.nspname as schema, c.relname as name
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'f' and ${USER_SCHEMA} and ${NOT_OF_AN_EXTENSION}
      order by 1, 2`,
  )
  return rows.filter(({ schema, name }) => filter(schema, name))
}

/** Generated columns are computed anew by the target. */
export function copiedColumns(table: Pick<SourceTable, 'columns'>): SourceColumn[] {
  return table.columns.filter((column) => !column.generated)
}
