import type pg from 'pg'

/**
 * Compares two databases by the number of rows of each table and the sum of their hashes.
 *
 * @returns what differs, nothing when they are equal
 */
export async function contentDifferences(source: pg.Client, target: pg.Client): Promise<string[]> {
  const [ours, theirs] = await Promise.all([contents(source), contents(target)])
  const tables = new Set([...ours.keys(), ...theirs.keys()])
  return [...tables]
    .filter((table) => ours.get(table) !== theirs.get(table))
    .map((table) => `${table}: ${ours.get(table) ?? 'missing'} on the source, ${theirs.get(table) ?? 'missing'} here`)
}

/** Tables that one statement reads: it locks them all until its end. */
const TABLES_AT_A_TIME = 500

/** hashtextextended is the same in all majors from 11 on. */
async function contents(client: pg.Client): Promise<Map<string, string>> {
  await client.query(`set timezone = 'UTC'; set datestyle = 'ISO'; set extra_float_digits = 3; set jit = off`)
  const { rows: tables } = await client.query<{ table: string }>(
    `select format('%I.%I', n.nspname, c.relname) as table
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'r' and n.nspname = 'public' order by 1`,
  )
  const found = new Map<string, string>()
  for (let first = 0; first < tables.length; first += TABLES_AT_A_TIME) {
    const { rows } = await client.query<{ table: string; content: string }>(
      tables
        .slice(first, first + TABLES_AT_A_TIME)
        .map(
          ({ table }) =>
            `select '${table}' as table, count(*) || ' rows ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) as content from ${table} t`,
        )
        .join(' union all '),
    )
    for (const { table, content } of rows) found.set(table, content)
  }
  return found
}
