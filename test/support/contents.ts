import { expect } from 'vitest'
import type { Connection } from '../../migration/connect.ts'
import { id } from '../../migration/sql.ts'

/** Rows of a table up to which a difference is shown row by row. */
const SHOWN_ROWS = 20

/**
 * Expects every table of both sides to hold the same rows, in whatever order. Rows are compared by the text of
 * their values under the forced session settings, duplicates counted.
 *
 * @param source, target connections of the engine (they force the settings)
 */
export async function expectEqualContents(source: Connection, target: Connection): Promise<void> {
  const tables = await listTables(source)
  expect(await listTables(target)).toEqual(tables)
  for (const table of tables) {
    const name = id(...(JSON.parse(table) as [string, string]))
    if ((await fingerprint(source, name)) === (await fingerprint(target, name))) continue
    const [before, after] = [await rows(source, name), await rows(target, name)]
    expect({ table, missing: less(before, after), unexpected: less(after, before) }).toEqual({
      table,
      missing: [],
      unexpected: [],
    })
  }
}

/** Number of rows and sum of their hashes; hashtextextended is the same in all majors from 11 on. */
async function fingerprint(connection: Connection, table: string): Promise<string> {
  const { rows: found } = await connection.query<{ text: string }>(
    `select count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) as text from only ${table} as t`,
  )
  return found[0]!.text
}

async function rows(connection: Connection, table: string): Promise<string[]> {
  const { rows: found } = await connection.query<{ text: string }>(
    `select t::text as text from only ${table} as t order by t::text collate "C"`,
  )
  return found.map(({ text }) => text)
}

/** What is in the one list more often than in the other. */
function less(these: string[], those: string[]): string[] {
  const counts = new Map<string, number>()
  for (const row of those) counts.set(row, (counts.get(row) ?? 0) + 1)
  return these
    .filter((row) => {
      const count = counts.get(row) ?? 0
      counts.set(row, count - 1)
      return count <= 0
    })
    .slice(0, SHOWN_ROWS)
}

async function listTables(connection: Connection): Promise<string[]> {
  const { rows: found } = await connection.query<{ name: string }>(
    `select json_build_array(n.nspname, c.relname) as name
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgflex')
      order by n.nspname collate "C", c.relname collate "C"`,
  )
  return found.map(({ name }) => name)
}
