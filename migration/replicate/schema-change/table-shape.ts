import type { Connection } from '../../connect.ts'
import type { TableName } from '../../load/tables.ts'
import type { Statement } from '../apply/statements.ts'
import type { SourceDefinition } from './source-definition.ts'

/** A column of the target, and which one of the source it is: names change, the attribute number never does. */
export interface ShapeColumn {
  name: string
  /** pg_attribute.attnum on the source. */
  attnum: number
  /** On the source, as the relation messages say it. */
  typeOid: number
  typeModifier: number
  /** It was added while following: what of it the stream does not show, as far as it has been brought over. */
  carried?: CarriedDetail
}

export interface CarriedDetail {
  /** The default, in the words of the source. */
  expression: string | null
  notNull: boolean
}

/**
 * What the target's table stands for, in pgflex.table_shape. It is written in the transaction that brings a change
 * of the definition, so that it is always that of the place where the target is.
 */
export interface TableShape {
  tableOid: number
  /** pg_class.relfilenode of the source: as long as it is the same, no ALTER TABLE has written the rows anew. */
  filenode: number
  /** The highest attribute number there was: a column with a higher one was added since. */
  attributes: number
  columns: ShapeColumn[]
  /** Generated columns, which the stream does not show. */
  generated: string[]
  /** What is planned for the cutover does not know it as it is: its columns have changed, or it is a partition now. */
  replan?: true
}

/** The shape of a table whose columns are those of the source's catalog. */
export function shapeOf(source: SourceDefinition): TableShape {
  const live = source.attributes.filter(({ dropped }) => !dropped)
  return {
    tableOid: source.oid,
    filenode: source.filenode,
    attributes: highestNumber(source),
    columns: live
      .filter(({ generated }) => generated === '')
      .map(({ name, attnum, typeOid, typeModifier }) => ({ name, attnum, typeOid, typeModifier })),
    generated: live.filter(({ generated }) => generated !== '').map(({ name }) => name),
  }
}

export function highestNumber({ attributes }: SourceDefinition): number {
  return attributes.at(-1)?.attnum ?? 0
}

/** The shapes of all tables. */
export async function readShapes(target: Connection): Promise<(TableName & { shape: TableShape })[]> {
  const { rows } = await target.query<TableName & { shape: string }>(
    'select schema_name as schema, table_name as name, shape from pgflex.table_shape',
  )
  return rows.map(({ schema, name, shape }) => ({ schema, name, shape: JSON.parse(shape) as TableShape }))
}

/**
 * Stores shapes; for a transaction of the caller.
 *
 * @param replan what waits for the cutover is to be read anew, for some of them
 */
export async function storeShapes(
  target: Connection,
  tables: readonly SourceDefinition[],
  replan: (table: SourceDefinition) => boolean = () => false,
): Promise<void> {
  await target.query(
    `insert into pgflex.table_shape (schema_name, table_name, shape)
     select * from unnest($1::text[], $2::text[], $3::json[])
         on conflict (schema_name, table_name) do update set shape = excluded.shape`,
    [
      tables.map(({ schema }) => schema),
      tables.map(({ name }) => name),
      tables.map((table) => JSON.stringify({ ...shapeOf(table), ...(replan(table) ? { replan: true } : {}) })),
    ],
  )
}

/** Stores the shape of one table, for the transaction that applies. */
export function saveShape(schema: string, table: string, shape: TableShape): Statement {
  return {
    sql: `insert into pgflex.table_shape (schema_name, table_name, shape) values ($1, $2, $3::json)
              on conflict (schema_name, table_name) do update set shape = excluded.shape`,
    params: [schema, table, JSON.stringify(shape)],
    kind: 'schema',
    expected: 1,
  }
}
