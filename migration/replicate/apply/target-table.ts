import type { Connection } from '../../connect.ts'
import type { TableName } from '../../load/tables.ts'
import { id } from '../../sql.ts'
import { isBinaryType } from '../binary-values.ts'

export interface TargetColumn {
  name: string
  /** The type without length modifiers, as SQL: the assignment to the column applies them. */
  type: string
  /** Computed by the target itself. */
  generated: boolean
  /** The object id of a type whose binary form is the same everywhere, else null. */
  binaryOid: number | null
  /** Equal by `=` means the same bytes. Of other types (numeric, json, ranges, user types …) the text is compared. */
  imageEqual: boolean
}

export interface UniqueIndex {
  primary: boolean
  /** The index columns, and the operator of its operator class that finds a row by each. */
  columns: { name: string; operator: string }[]
}

/** A table as the target's catalog has it. */
export interface TargetTable {
  columns: TargetColumn[]
  /** Usable as a key: valid, immediate, whole (no predicate, no expression). */
  uniqueIndexes: UniqueIndex[]
  /** Constraints that can be deferred, as SQL names. */
  deferrable: string[]
}

/**
 * Types where two values that are equal are also the same, with the deterministic collations of text: only
 * of these can `=` pick one of two rows that look alike.
 */
const IMAGE_EQUAL_TYPES = `'bool', 'int2', 'int4', 'int8', 'oid', 'uuid', 'bytea', 'date', 'time', 'timestamp', 'timestamptz', 'name', 'macaddr', 'macaddr8', 'pg_lsn'`

/** Reads the definitions of tables, by {@link tableKey}; one that there is not is missing. */
export async function readTargetTables(
  target: Connection,
  tables: readonly TableName[],
): Promise<Map<string, TargetTable>> {
  // format_type with a type modifier of -1 gives bpchar and "bit", where without one it gives what SQL reads as
  // char(1) and bit(1).
  const { rows } = await target.query<Record<'schema' | 'name' | 'columns' | 'indexes' | 'deferrable', string>>(
    `select n.nspname as schema, c.relname as name,
            coalesce(
              (select json_agg(json_build_object(
                        'name', a.attname,
                        'type', format_type(a.atttypid, -1),
                        'generated', a.attgenerated <> '',
                        'binaryOid', case when ${isBinaryType('t')} then t.oid::int8 end,
                        'imageEqual', a.atttypid < 16384 and (t.typname in (${IMAGE_EQUAL_TYPES})
                          or t.typname in ('text', 'varchar') and co.collisdeterministic)) order by a.attnum)
                 from pg_attribute a
                 join pg_type t on t.oid = a.atttypid
                 left join pg_collation co on co.oid = a.attcollation
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]') as columns,
            coalesce(
              (select json_agg(json_build_object(
                        'primary', i.indisprimary,
                        'columns', (select json_agg(json_build_object('name', a.attname, 'schema', n.nspname, 'operator', o.oprname) order by k.position)
                                      from unnest(i.indkey::int2[], i.indclass::oid[]) with ordinality as k (attnum, opclass, position)
                                      join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
                                      join pg_opclass oc on oc.oid = k.opclass
                                      join pg_amop am on am.amopfamily = oc.opcfamily and am.amopstrategy = 3
                                                     and am.amoplefttype = oc.opcintype and am.amoprighttype = oc.opcintype
                                      join pg_operator o on o.oid = am.amopopr
                                      join pg_namespace n on n.oid = o.oprnamespace
                                     where k.position <= i.indnkeyatts))
                        order by i.indisprimary desc, i.indexrelid)
                 from pg_index i
                 join pg_class ic on ic.oid = i.indexrelid
                 join pg_am on pg_am.oid = ic.relam and pg_am.amname = 'btree'
                where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate
                  and i.indpred is null and i.indexprs is null), '[]') as indexes,
            coalesce((select json_agg(con.conname) from pg_constraint con where con.conrelid = c.oid and con.condeferrable), '[]') as deferrable
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
      where (n.nspname, c.relname) in (select * from unnest($1::name[], $2::name[])) and c.relkind in ('r', 'p')`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  return new Map(rows.map((row) => [tableKey(row), targetTable(row)]))
}

/** A map key: neither part of a name can hold a zero byte. */
export function tableKey({ schema, name }: TableName): string {
  return `${schema}\0${name}`
}

function targetTable(row: Record<'schema' | 'columns' | 'indexes' | 'deferrable', string>): TargetTable {
  return {
    columns: JSON.parse(row.columns) as TargetColumn[],
    uniqueIndexes: (JSON.parse(row.indexes) as CatalogIndex[]).map(({ primary, columns }) => ({
      primary,
      columns: columns.map(({ name: column, schema: operatorSchema, operator }) => ({
        name: column,
        operator: `operator(${id(operatorSchema)}.${operator})`,
      })),
    })),
    deferrable: (JSON.parse(row.deferrable) as string[]).map((constraint) => id(row.schema, constraint)),
  }
}

interface CatalogIndex {
  primary: boolean
  columns: { name: string; schema: string; operator: string }[]
}
