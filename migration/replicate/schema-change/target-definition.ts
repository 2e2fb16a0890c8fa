import type { Connection } from '../../connect.ts'
import type { TableName } from '../../load/tables.ts'
import type { TableShape } from './table-shape.ts'

export interface DefinedColumn {
  name: string
  /** With its modifiers, as SQL. */
  type: string
  notNull: boolean
  generated: boolean
  inherited: boolean
}

/** A table of the target with what it stands for. */
export interface TargetDefinition {
  columns: DefinedColumn[]
  /** Undefined of a table that was copied by a version that did not record it. */
  shape: TableShape | undefined
  /** The topmost parent, when there is one way up: what is inherited can be changed there only. */
  root: TableName | undefined
  /** Children by inheritance, not partitions. */
  hasChildren: boolean
  /** Deferrable constraints, as SQL. */
  deferrable: string[]
}

/** Reads a table's definition, or undefined when there is no such table. */
export async function readTargetDefinition(
  target: Connection,
  schema: string,
  name: string,
): Promise<TargetDefinition | undefined> {
  const { rows } = await target.query<{ definition: string }>(
    `select json_build_object(
              'columns', coalesce(
                (select json_agg(json_build_object(
                          'name', a.attname,
                          'type', format_type(a.atttypid, a.atttypmod),
                          'notNull', a.attnotnull,
                          'generated', a.attgenerated <> '',
                          'inherited', a.attinhcount > 0) order by a.attnum)
                   from pg_attribute a
                  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]'),
              'shape', (select shape from pgflex.table_shape where schema_name = $1 and table_name = $2),
              'root', (
                with recursive ancestor (oid, depth) as (
                  select i.inhparent, 1 from pg_inherits i where i.inhrelid = c.oid
                   union all
                  select i.inhparent, depth + 1 from ancestor join pg_inherits i on i.inhrelid = ancestor.oid)
                select case when count(*) = max(depth)
                            then (array_agg(json_build_object('schema', rn.nspname, 'name', r.relname) order by depth desc))[1] end
                  from ancestor
                  join pg_class r on r.oid = ancestor.oid
                  join pg_namespace rn on rn.oid = r.relnamespace),
              'hasChildren', c.relkind = 'r' and exists (select from pg_inherits i where i.inhparent = c.oid),
              'deferrable', coalesce(
                (select json_agg(format('%I.%I', n.nspname, k.conname))
                   from pg_constraint k where k.conrelid = c.oid and k.condeferrable), '[]'))::text as definition
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')`,
    [schema, name],
  )
  if (!rows[0]) return undefined
  const read = JSON.parse(rows[0].definition) as TargetDefinition & { shape: TableShape | null; root: TableName | null }
  return { ...read, shape: read.shape ?? undefined, root: read.root ?? undefined }
}
