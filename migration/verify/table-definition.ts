import { createHash } from 'node:crypto'
import type { Connection } from '../connect.ts'
import { bothSettled } from './both-settled.ts'
import { tableKey, type TableName } from './compared-table.ts'

/**
 * What tables are on both sides, by {@link tableKey}, as a digest that differs when anything has happened to a table
 * that no change of a row tells: it was made anew, truncated, rewritten, altered, or copied again. A table that a side
 * does not have is left out.
 */
export async function readDefinitions(
  source: Connection,
  target: Connection,
  tables: readonly TableName[],
): Promise<Map<string, string>> {
  const [ours, theirs] = await bothSettled(readSide(source, tables), readSide(target, tables))
  const copies = await readCopies(target, tables)
  const definitions = new Map<string, string>()
  for (const [key, definition] of ours) {
    const there = theirs.get(key)
    if (there === undefined) continue
    const text = JSON.stringify([definition, there, copies.get(key)])
    definitions.set(key, createHash('sha256').update(text).digest('hex'))
  }
  return definitions
}

/** The file node changes with TRUNCATE and with every rewrite, the numbers of the columns when one is dropped or made. */
async function readSide(connection: Connection, tables: readonly TableName[]): Promise<Map<string, string>> {
  const { rows } = await connection.query<TableName & { definition: string }>(
    `select n.nspname as schema, c.relname as name,
            json_build_array(c.oid, c.relfilenode, c.relreplident, c.relpersistence,
              (select json_agg(json_build_array(a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation) order by a.attnum)
                 from pg_catalog.pg_attribute a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped))::text as definition
       from unnest($1::text[], $2::text[]) as wanted (schema, name)
       join pg_catalog.pg_namespace n on n.nspname = wanted.schema
       join pg_catalog.pg_class c     on c.relnamespace = n.oid and c.relname = wanted.name and c.relkind = 'r'`,
    names(tables),
  )
  return new Map(rows.map((row) => [tableKey(row), row.definition]))
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
