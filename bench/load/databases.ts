import { APP_USER } from '../../demo/roles.ts'
import { id } from '../../migration/sql.ts'
import type { EmbeddedServer } from '../../demo/embedded-postgres.ts'
import type { ServerPair } from '../../test/support/servers.ts'
import { contentDifferences } from '../contents.ts'
import type { LoaderName } from './loader.ts'
import type { Shape } from './shape.ts'

/** On the source, and that of pgflex on the target, which makes it. */
export const DATABASE = 'bench_load'
/** Of the others on the target, who find it empty. */
export const OTHER_DATABASE = 'bench_load_other'

export async function createSource({ source }: ServerPair, { statements }: Shape): Promise<void> {
  {
    await using admin = await source.connect()
    await admin.query(`drop database if exists ${DATABASE} with (force)`)
    await admin.query(`create database ${DATABASE} owner ${APP_USER}`)
  }
  await using database = await source.connect(DATABASE)
  await database.query(`set synchronous_commit = off`)
  await database.query(`set role ${APP_USER}`)
  for (const statement of statements) {
    if (statement.startsWith('vacuum')) await database.query('reset role')
    await database.query(statement)
  }
}

/** Empties the target, with clean buffers for the next load. */
export async function clearTarget({ source, target }: ServerPair): Promise<void> {
  await using admin = await target.connect()
  for (const name of [DATABASE, OTHER_DATABASE]) await admin.query(`drop database if exists ${id(name)} with (force)`)
  await admin.query(`create database ${OTHER_DATABASE}`)
  await admin.query('checkpoint')
  await using other = await source.connect()
  await other.query('checkpoint')
}

/** Names, biggest first. */
export async function listTablesBySize(source: EmbeddedServer): Promise<string[]> {
  return (await readTables(source)).map(({ name }) => name)
}

export async function tableBytes(source: EmbeddedServer): Promise<{ greatest: number; all: number }> {
  const tables = await readTables(source)
  return { greatest: tables[0]?.bytes ?? 0, all: tables.reduce((sum, { bytes }) => sum + bytes, 0) }
}

async function readTables(source: EmbeddedServer): Promise<{ name: string; bytes: number }[]> {
  await using client = await source.connect(DATABASE)
  const { rows } = await client.query<{ name: string; bytes: string }>(
    `select relname as name, pg_table_size(oid) as bytes
       from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 2 desc, 1`,
  )
  return rows.map(({ name, bytes }) => ({ name, bytes: Number(bytes) }))
}

/**
 * Compares what a loader has brought about with the source: all rows, and except for the floor the indexes and
 * constraints.
 *
 * @returns what differs, nothing when they are equal
 */
export async function loadDifferences({ source, target }: ServerPair, loader: LoaderName): Promise<string[]> {
  await using ours = await source.connect(DATABASE)
  await using theirs = await target.connect(loader === 'pgflex' ? DATABASE : OTHER_DATABASE)
  const differences = await contentDifferences(ours, theirs)
  if (loader === 'copy') return differences
  const objects = `
    select (select count(*) from pg_index join pg_class on oid = indexrelid
             where relnamespace = 'public'::regnamespace and indisvalid)
           || ' indexes, ' ||
           (select count(*) from pg_constraint
             where connamespace = 'public'::regnamespace and convalidated and contype in ('p', 'u', 'f', 'c'))
           || ' constraints' as counts`
  const [wanted, found] = await Promise.all([
    ours.query<{ counts: string }>(objects),
    theirs.query<{ counts: string }>(objects),
  ])
  const [want, have] = [wanted.rows[0]!.counts, found.rows[0]!.counts]
  return want === have ? differences : [...differences, `${want} on the source, ${have} here`]
}
