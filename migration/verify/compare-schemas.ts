import type { Connection } from '../connect.ts'
import type { ObjectDifference } from '../model/status.ts'
import type { TableFilter } from '../model/table-filter.ts'

/** An object of a schema; `relation` is the table that it is or belongs to, or empty. */
interface SchemaObject {
  kind: string
  schema: string
  relation: string
  name: string
}

/**
 * The objects that one side has alone: tables, columns with their types, indexes, constraints, sequences, views,
 * functions and triggers, by name. What the migration makes at the cutover only is left out.
 *
 * @param included the tables that are migrated
 */
export async function compareSchemas(
  source: Connection,
  target: Connection,
  included: TableFilter,
): Promise<ObjectDifference[]> {
  const [ours, theirs, waiting] = [await listObjects(source), await listObjects(target), await listWaiting(target)]
  const migrated = ({ schema, relation }: SchemaObject): boolean => relation === '' || included(schema, relation)
  const there = new Set(theirs.map(title))
  return objectDifferences(
    // A view that waits for its refresh only is there.
    ours.filter((object) => migrated(object) && (there.has(title(object)) || !waiting.has(waitingKey(object)))),
    theirs.filter(migrated),
  )
}

const title = ({ kind, schema, name }: SchemaObject): string => JSON.stringify([kind, `${schema}.${name}`])

/** What is in one list only, sorted. */
export function objectDifferences(ours: SchemaObject[], theirs: SchemaObject[]): ObjectDifference[] {
  const only = (these: SchemaObject[], those: SchemaObject[], found: ObjectDifference['found']): ObjectDifference[] => {
    const there = new Set(those.map(title))
    return these
      .filter((object) => !there.has(title(object)))
      .map(({ kind, schema, name }) => ({ kind, name: `${schema}.${name}`, found }))
  }
  return [...only(ours, theirs, 'OnlySource'), ...only(theirs, ours, 'OnlyTarget')].toSorted((a, b) =>
    `${a.kind} ${a.name}` < `${b.kind} ${b.name}` ? -1 : 1,
  )
}

/** Of both, what was there at two looks: what is being carried over is gone by the second. */
export function lastingObjects(before: ObjectDifference[], after: ObjectDifference[]): ObjectDifference[] {
  const key = ({ kind, name, found }: ObjectDifference): string => JSON.stringify([kind, name, found])
  const there = new Set(before.map(key))
  return after.filter((object) => there.has(key(object)))
}

/** Constraints and triggers that are made at the cutover: the last part of what names them is their own name. */
async function listWaiting(target: Connection): Promise<Set<string>> {
  const { rows } = await target.query<{ schema: string; name: string }>(
    `select schema_name as schema, object_name as name
       from pgflex.statement
      where state = 'pending' and schema_name is not null and object_name is not null`,
  )
  return new Set(rows.map(({ schema, name }) => JSON.stringify([schema, name])))
}

function waitingKey({ schema, relation, name }: SchemaObject): string {
  return JSON.stringify([schema, name.startsWith(`${relation}.`) ? name.slice(relation.length + 1) : name])
}

async function listObjects(connection: Connection): Promise<SchemaObject[]> {
  const { rows } = await connection.query<{ kind: string; schema: string; relation: string; name: string }>(OBJECTS)
  return rows
}

/** What an extension made goes with the extension. */
const notOfExtension = (catalog: string, oid: string): string => `not exists (
         select from pg_depend e where e.classid = '${catalog}'::regclass and e.objid = ${oid} and e.deptype = 'e')`

/**
 * Names are text from the first list on, or the union would be of names, cut at 63 bytes. The types of a function's
 * arguments, since what pg_get_function_identity_arguments() writes of a procedure changed in PostgreSQL 14.
 *
 * Internal ones belong to an identity column, to a constraint or to a partition of something that is listed.
 */
const OBJECTS = `
  with space as (
    select oid, nspname
      from pg_namespace
     where nspname not in ('pg_catalog', 'information_schema', 'pgflex') and nspname !~ '^pg_(toast|temp)'
  ), relation as (
    select c.oid, s.nspname, c.relname, c.relkind
      from pg_class c
      join space s on s.oid = c.relnamespace
     where c.relpersistence <> 't' and ${notOfExtension('pg_class', 'c.oid')}
  )
  select case relkind when 'v' then 'View' when 'm' then 'MaterializedView' when 'f' then 'ForeignTable' else 'Table' end as kind,
         nspname::text as schema, relname::text as relation, relname::text as name
    from relation where relkind in ('r', 'p', 'v', 'm', 'f')
  union all
  select 'Column', nspname, relname, relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
    from relation r join pg_attribute a on a.attrelid = r.oid
   where relkind in ('r', 'p', 'v', 'm', 'f') and attnum > 0 and not attisdropped
  union all
  select 'Sequence', nspname,
         coalesce((select o.relname from pg_depend d join pg_class o on o.oid = d.refobjid
                    where d.classid = 'pg_class'::regclass and d.objid = r.oid
                      and d.refclassid = 'pg_class'::regclass and d.deptype = 'a' limit 1), ''),
         relname
    from relation r
   where relkind = 'S'
     and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.deptype = 'i')
  union all
  select 'Index', r.nspname, r.relname, x.relname
    from relation r join pg_index i on i.indrelid = r.oid join pg_class x on x.oid = i.indexrelid
   where r.relkind in ('r', 'p', 'm') and i.indisvalid
  union all
  select 'Constraint', nspname, relname, relname || '.' || conname
    from relation r join pg_constraint k on k.conrelid = r.oid
   where contype in ('c', 'f', 'p', 'u', 'x') and relkind in ('r', 'p', 'f')
     and not (contype = 'f' and conparentid <> 0)
  union all
  select 'Trigger', nspname, relname, relname || '.' || tgname
    from relation r join pg_trigger t on t.tgrelid = r.oid
   where not tgisinternal
  union all
  select case to_jsonb(p) ->> 'prokind' when 'p' then 'Procedure' when 'a' then 'Aggregate' else 'Function' end, s.nspname, '',
         proname || '(' || coalesce((select string_agg(format_type(a.type, null), ', ' order by position)
                                       from unnest(proargtypes::oid[]) with ordinality as a (type, position)), '') || ')'
    from pg_proc p join space s on s.oid = p.pronamespace
   where ${notOfExtension('pg_proc', 'p.oid')}`
