import type { Connection } from '../connect.ts'
import type { ServerContext } from '../context.ts'
import { controlSchemaOwner } from '../control/control-schema.ts'

/** The database of every PostgreSQL server that administration connects to; Azure keeps it too. */
export const MAINTENANCE_DATABASE = 'postgres'

/**
 * The databases to migrate that are on the target already and are not empty: to be overwritten only with the
 * user's consent. One that carries our control schema was made by this migration.
 */
export async function findOccupiedDatabases(context: ServerContext): Promise<string[]> {
  await using maintenance = await context.connect('target', MAINTENANCE_DATABASE, 'readiness')
  const { rows } = await maintenance.query<{ datname: string }>(
    'select datname from pg_database where datname = any ($1)',
    [context.record.properties.dbsToMigrate],
  )
  const occupied: string[] = []
  for (const { datname } of rows) {
    await using target = await context.connect('target', datname, 'readiness')
    if ((await controlSchemaOwner(target)) !== context.key && !(await isEmptyDatabase(target))) occupied.push(datname)
  }
  return occupied
}

/** True when the database holds no object of a user: no relation, function or type outside the system's schemas and extensions, no large object. */
export async function isEmptyDatabase(connection: Connection): Promise<boolean> {
  const { rows } = await connection.query<{ occupied: string }>(`
    with user_schema as (
      select oid
        from pg_namespace
       where nspname !~ '^pg_'
         and nspname not in ('information_schema', 'pgflex')
    ), object as (
      select 'pg_class'::regclass as classid, oid from pg_class where relnamespace in (table user_schema)
      union all
      select 'pg_proc'::regclass, oid from pg_proc where pronamespace in (table user_schema)
      union all
      select 'pg_type'::regclass, oid from pg_type where typnamespace in (table user_schema)
    )
    select exists (
      select
        from object as o
       where not exists (select from pg_depend as d where d.classid = o.classid and d.objid = o.oid and d.deptype = 'e')
    ) or exists (select from pg_largeobject_metadata) as occupied`)
  return rows[0]!.occupied !== 't'
}
