import type { Connection } from '../connect.ts'
import { listExtensionTables } from './extension-tables.ts'
import { readLargeObjectFacts, type LargeObjectFacts } from '../load/large-object-facts.ts'
import { IS_IDENTIFIED } from '../replicate/publication.ts'

/** What validation needs to know of one database. */
export interface SourceDatabaseFacts {
  owner: string
  /** May our role change the database's settings, as the freeze of writes at cutover does? */
  ownsDatabase: boolean
  /** CREATE on the database: needed for a publication. */
  mayCreate: boolean
  extensions: { name: string; version: string }[]
  tables: number
  /** `schema.table` of tables that our role does not own, by membership or itself. */
  notOwned: string[]
  /** `schema.table` of tables whose UPDATE and DELETE cannot be followed: they are copied again at cutover. */
  withoutIdentity: string[]
  foreignTables: string[]
  unloggedTables: string[]
  largeObjects: LargeObjectFacts
  /** `schema.table` of extensions' tables with rows of the user: they are not migrated. */
  extensionTables: string[]
  preparedTransactions: number
  userCollations: string[]
}

export async function readSourceDatabaseFacts(connection: Connection): Promise<SourceDatabaseFacts> {
  const { rows } = await connection.query<{ facts: string }>(`
    with relation as (
      select c.oid, c.relkind, c.relpersistence, c.relowner,
             format('%s.%s', n.nspname, c.relname) as name,
             ${IS_IDENTIFIED} as identified
        from pg_class     as c
        join pg_namespace as n on n.oid = c.relnamespace
       where n.nspname !~ '^pg_'
         and n.nspname not in ('information_schema', 'pgflex')
         and c.relkind in ('r', 'p', 'f')
         and c.relpersistence <> 't'
         and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
    )
    select json_build_object(
      'owner',                (select pg_get_userbyid(datdba) from pg_database where datname = current_database()),
      'ownsDatabase',         (select pg_has_role(datdba, 'usage') from pg_database where datname = current_database()),
      'mayCreate',            has_database_privilege(current_database(), 'create'),
      'extensions',           (select coalesce(json_agg(json_build_object('name', extname, 'version', extversion) order by extname), '[]') from pg_extension),
      'tables',               (select count(*) from relation where relkind = 'r'),
      'notOwned',             (select coalesce(json_agg(name order by name), '[]') from relation where relkind in ('r', 'p') and not pg_has_role(relowner, 'usage')),
      'withoutIdentity',      (select coalesce(json_agg(name order by name), '[]') from relation
                                where relkind = 'r' and relpersistence = 'p' and not identified),
      'foreignTables',        (select coalesce(json_agg(name order by name), '[]') from relation where relkind = 'f'),
      'unloggedTables',       (select coalesce(json_agg(name order by name), '[]') from relation where relkind = 'r' and relpersistence = 'u'),
      'preparedTransactions', (select count(*) from pg_prepared_xacts where database = current_database()),
      'userCollations',       (select coalesce(json_agg(collname order by collname), '[]') from pg_collation as c join pg_namespace as n on n.oid = c.collnamespace where n.nspname <> 'pg_catalog')
    ) as facts`)
  return {
    ...(JSON.parse(rows[0]!.facts) as Omit<SourceDatabaseFacts, 'largeObjects' | 'extensionTables'>),
    largeObjects: await readLargeObjectFacts(connection),
    extensionTables: await listExtensionTables(connection),
  }
}

/** The extensions that the target could create. */
export async function readAvailableExtensions(target: Connection): Promise<string[]> {
  const { rows } = await target.query<{ name: string }>('select name from pg_available_extensions')
  return rows.map(({ name }) => name)
}
