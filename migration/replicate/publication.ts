import type { Connection } from '../connect.ts'
import { errorText, MigrationError, sqlState } from '../errors.ts'
import type { TableName } from '../load/tables.ts'
import { id } from '../sql.ts'
import type { SourceObjects } from './slot-name.ts'

/** What of a table can be published without breaking the statements of the application. */
export interface PublishedTable extends TableName {
  /**
   * False where UPDATE and DELETE have nothing to identify a row with. On such a table, in a publication of
   * updates, the application's own UPDATE would fail: https://www.postgresql.org/docs/current/logical-replication-publication.html
   */
  identified: boolean
}

/** insufficient_privilege: adding a table to a publication takes its ownership, the publication CREATE on the database. */
const NOT_ALLOWED = '42501'

/** Of a column `a`; there are none before PostgreSQL 12. */
const IS_GENERATED = `not a.attisdropped and coalesce(to_jsonb(a) ->> 'attgenerated', '') <> ''`

/**
 * Whether a table, a row `c` of pg_class, has a usable replica identity: a primary key or the chosen index, valid
 * and not deferrable, or FULL. Generated columns are not published, so that a key with one of them would not arrive
 * whole; PostgreSQL 18 even makes the application's UPDATE fail then, and with FULL as well.
 */
export const IS_IDENTIFIED = `
  case
    when c.relreplident = 'f' then current_setting('server_version_num')::int < 180000
      or not exists (select from pg_attribute a where a.attrelid = c.oid and ${IS_GENERATED})
    when c.relreplident in ('d', 'i') then exists (
      select from pg_index i
       where i.indrelid = c.oid and i.indisvalid and i.indimmediate
         and case c.relreplident when 'd' then i.indisprimary else i.indisreplident end
         and not exists (select from pg_attribute a
                          where a.attrelid = c.oid and a.attnum = any (i.indkey) and ${IS_GENERATED}))
    else false
  end`

/** Which of the tables have a usable replica identity. */
export async function listIdentified(source: Connection, tables: readonly TableName[]): Promise<PublishedTable[]> {
  const { rows } = await source.query<{ schema: string; name: string; identified: string }>(
    `select n.nspname as schema, c.relname as name, ${IS_IDENTIFIED} as identified
       from unnest($1::name[], $2::name[]) as wanted (nspname, relname)
       join pg_namespace n using (nspname)
       join pg_class c on c.relnamespace = n.oid and c.relname = wanted.relname
      order by 1, 2`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  return rows.map(({ schema, name, identified }) => ({ schema, name, identified: identified === 't' }))
}

/**
 * Makes the publications anew: leaf tables one by one, never FOR ALL TABLES, which takes a superuser and would
 * break UPDATE and DELETE on tables without identity. The second one is made even if there are no such tables: one
 * may be made while following, and a publication has to be older than the place where the stream begins.
 *
 * @returns the object ids of what was made, by name
 * @throws {MigrationError} PublicationDenied
 */
export async function createPublications(
  source: Connection,
  { publication, insertsPublication }: SourceObjects,
  tables: readonly PublishedTable[],
): Promise<Record<string, string>> {
  const identified = tables.filter((table) => table.identified)
  const others = tables.filter((table) => !table.identified)
  await source.query('begin')
  try {
    await source.query(`drop publication if exists ${id(publication)}, ${id(insertsPublication)}`)
    await source.query(await createStatement(source, publication, identified, 'insert, update, delete, truncate'))
    await source.query(await createStatement(source, insertsPublication, others, 'insert, truncate'))
    const made = await readPublications(source, [publication, insertsPublication])
    await source.query('commit')
    return made
  } catch (error) {
    await source.query('rollback').catch(() => {})
    if (sqlState(error) !== NOT_ALLOWED) throw error
    throw new MigrationError(
      'PublicationDenied',
      `The source does not let us publish the tables: ${errorText(error)}.`,
      {
        hint: 'Grant the migrating role membership in the owner of the tables, and: grant create on database … to …;',
        target: 'source',
        cause: error,
      },
    )
  }
}

async function createStatement(
  source: Connection,
  name: string,
  tables: readonly TableName[],
  operations: string,
): Promise<string> {
  const { rows } = await source.query<{ version: string }>(`select current_setting('server_version_num') as version`)
  const list = tables.map((table) => `only ${id(table.schema, table.name)}`)
  // Changes of a partition go out under its own name: the same leaves exist on the target. New in PostgreSQL 13.
  const root = Number(rows[0]!.version) >= 130_000 ? ', publish_via_partition_root = false' : ''
  const publish = `with (publish = '${operations}'${root})`
  return `create publication ${id(name)} ${list.length === 0 ? '' : `for table ${list.join(', ')}`} ${publish}`
}

/** Removes both publications, if they are there. */
export async function dropPublications(
  source: Connection,
  { publication, insertsPublication }: SourceObjects,
): Promise<void> {
  await source.query(`drop publication if exists ${id(publication)}, ${id(insertsPublication)}`)
}

/** The object ids of the publications that there are, by name. */
export async function readPublications(source: Connection, names: string[]): Promise<Record<string, string>> {
  const { rows } = await source.query<{ name: string; oid: string }>(
    'select pubname as name, oid from pg_publication where pubname = any ($1::name[]) order by pubname',
    [names],
  )
  return Object.fromEntries(rows.map(({ name, oid }) => [name, oid]))
}

/** The names of the publications that there are; requirePublications in made-publications.ts expects them to be there. */
export async function listPublications(
  source: Connection,
  { publication, insertsPublication }: SourceObjects,
): Promise<string[]> {
  return Object.keys(await readPublications(source, [publication, insertsPublication]))
}

/** The object ids of the tables that are listed in any of the publications. */
export async function readPublished(source: Connection, publications: string[]): Promise<Set<string>> {
  const { rows } = await source.query<{ oid: string }>(
    `select r.prrelid as oid
       from pg_publication_rel r
       join pg_publication p on p.oid = r.prpubid
      where p.pubname = any ($1::name[])`,
    [publications],
  )
  return new Set(rows.map(({ oid }) => oid))
}
