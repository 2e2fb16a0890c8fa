import type { Connection } from '../connect.ts'
import { sqlState } from '../errors.ts'
import { id } from '../sql.ts'

/**
 * Tables of extensions that hold rows of the user: an extension says which rows of its tables CREATE EXTENSION does not
 * bring. A table that our role may not read, or whose condition fails, is among them: nobody can
 * say that it holds none.
 * https://www.postgresql.org/docs/current/extend-extensions.html#EXTEND-EXTENSIONS-CONFIG-TABLES
 *
 * @returns `schema.table`, sorted
 */
export async function listExtensionTables(connection: Connection): Promise<string[]> {
  const { rows: tables } = await connection.query<Record<'schema' | 'name' | 'condition', string>>(
    `select n.nspname as schema, c.relname as name, t.condition
       from pg_extension as e
      cross join lateral unnest(e.extconfig, e.extcondition) as t (oid, condition)
       join pg_class     as c on c.oid = t.oid
       join pg_namespace as n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p')
      order by n.nspname, c.relname`,
  )
  const found: string[] = []
  for (const { schema, name, condition } of tables) {
    // The condition is a WHERE clause, or nothing; it comes from the extension's script, and pg_dump runs it, too.
    if (await holdsRows(connection, `select from ${id(schema, name)} ${condition} limit 1`)) {
      found.push(`${schema}.${name}`)
    }
  }
  return found
}

async function holdsRows(connection: Connection, query: string): Promise<boolean> {
  try {
    return (await connection.query(query)).rows.length > 0
  } catch (error) {
    if (sqlState(error) !== undefined) return true
    throw error
  }
}
