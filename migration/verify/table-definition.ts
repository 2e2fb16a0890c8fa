import { createHash } from 'node:crypto'
import type { Connection } from '../connect.ts'
import { bothSettled } from './both-settled.ts'
import { tableKey, type TableName } from './compared-table.ts'

/** FirstNormalObjectId: types of users have it or a later one. */
const FIRST_OWN_OID = 16384

/**
 * What tables are on both sides, by {@link tableKey}, as a digest that differs when anything has happened to a table
 * that no change of a row tells: it was made anew, truncated, rewritten, altered, or copied again; on the source also
 * renamed, if only for a while, or taken out of a publication, which hides its changes. A table that a side does not
 * have is left out, and so is one whose columns are not the same on both.
 */
export async function readDefinitions(
  source: Connection,
  target: Connection,
  tables: readonly TableName[],
): Promise<Map<string, string>> {
  const [ours, theirs] = await bothSettled(readSide(source, tables), readSide(target, tables))
  const [sent, copies] = await bothSettled(readSending(source, tables), readCopies(target, tables))
  const definitions = new Map<string, string>()
  for (const [key, here] of ours) {
    const there = theirs.get(key)
    if (here.columns !== there?.columns) continue
    const text = JSON.stringify([here.definition, there.definition, sent.get(key), copies.get(key)])
    definitions.set(key, createHash('sha256').update(text).digest('hex'))
  }
  return definitions
}

interface Side {
  definition: string
  /** Their names. */
  columns: string
}

/**
 * The file node changes with TRUNCATE and with every rewrite, the numbers of the columns when one is dropped or made.
 * The value of an enum is the number of its label, whose text can be changed without any row.
 * https://www.postgresql.org/docs/current/sql-altertype.html
 */
async function readSide(connection: Connection, tables: readonly TableName[]): Promise<Map<string, Side>> {
  const { rows } = await connection.query<TableName & Side>(
    `select n.nspname as schema, c.relname as name,
            json_build_array(c.oid, c.relfilenode, c.relreplident, c.relpersistence,
              (select json_agg(json_build_array(a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation) order by a.attnum)
                 from pg_catalog.pg_attribute a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
              case when exists (select from pg_catalog.pg_attribute a
                                 where a.attrelid = c.oid and a.attnum > 0 and a.atttypid >= ${FIRST_OWN_OID}) then
                (select md5(string_agg(e.oid || ':' || e.enumlabel, ',' order by e.oid)) from pg_catalog.pg_enum e)
              end)::text as definition,
            (select json_agg(a.attname order by a.attname::text collate "C")
               from pg_catalog.pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)::text as columns
       from unnest($1::text[], $2::text[]) as wanted (schema, name)
       join pg_catalog.pg_namespace n on n.nspname = wanted.schema
       join pg_catalog.pg_class c     on c.relnamespace = n.oid and c.relname = wanted.name and c.relkind = 'r'`,
    names(tables),
  )
  return new Map(rows.map((row) => [tableKey(row), row]))
}

/**
 * Under which name, and in which publications, a table of the source is: a change under another name, or outside of the
 * publication, is not applied. The other name may be gone by now; but a table has a type of its name, whose entry
 * ALTER TABLE … RENAME and SET SCHEMA write anew, and GRANT does not. Schemas have none: their own entry has to serve.
 */
async function readSending(source: Connection, tables: readonly TableName[]): Promise<Map<string, string>> {
  const { rows } = await source.query<TableName & { sent: string }>(
    `select n.nspname as schema, c.relname as name,
            json_build_array(n.xmin::text, t.xmin::text,
              (select json_agg(r.oid order by r.oid) from pg_catalog.pg_publication_rel r where r.prrelid = c.oid))::text as sent
       from unnest($1::text[], $2::text[]) as wanted (schema, name)
       join pg_catalog.pg_namespace n on n.nspname = wanted.schema
       join pg_catalog.pg_class c     on c.relnamespace = n.oid and c.relname = wanted.name and c.relkind = 'r'
       join pg_catalog.pg_type t      on t.oid = c.reltype`,
    names(tables),
  )
  return new Map(rows.map((row) => [tableKey(row), row.sent]))
}

async function readCopies(target: Connection, tables: readonly TableName[]): Promise<Map<string, string>> {
  const { rows } = await target.query<TableName & { copy: string }>(
    `select schema_name as schema, table_name as name, json_build_array(snapshot_lsn, ended_at)::text as copy
       from pgflex.table_copy
       join unnest($1::text[], $2::text[]) as wanted (schema_name, table_name) using (schema_name, table_name)`,
    names(tables),
  )
  return new Map(rows.map((row) => [tableKey(row), row.copy]))
}

function names(tables: readonly TableName[]): [string[], string[]] {
  return [tables.map(({ schema }) => schema), tables.map(({ name }) => name)]
}
