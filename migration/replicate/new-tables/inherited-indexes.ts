import type { Connection } from '../../connect.ts'
import type { TableName } from '../../load/tables.ts'
import type { NewStatement } from '../../schema/statements.ts'
import { id } from '../../sql.ts'

/** An index of a partition that is a part of its parent's. */
interface InheritedIndex extends TableName {
  table: string
  /** Schema and name of the parent's index. */
  parent: string
}

/**
 * Leaves out the indexes and keys that a partition has got from its parent when it was attached: on the target the
 * parent has them already. They are named as on the source, since other statements name them.
 *
 * @param target the session that has made the tables
 */
export async function skipInheritedIndexes(
  source: Connection,
  target: Connection,
  tables: readonly TableName[],
  statements: NewStatement[],
): Promise<NewStatement[]> {
  const there = await listInheritedIndexes(target, tables)
  const skipped = new Set<string>()
  for (const index of await listInheritedIndexes(source, tables)) {
    const made = there.find(
      ({ schema, table, parent }) => schema === index.schema && table === index.table && parent === index.parent,
    )
    if (!made) continue
    if (made.name !== index.name) {
      await target.query(`alter index ${id(made.schema, made.name)} rename to ${id(index.name)}`)
    }
    skipped.add(JSON.stringify([index.schema, index.name]))
  }
  return statements.filter(
    ({ kind, schemaName, objectName }) =>
      !(/^(INDEX|CONSTRAINT|INDEX ATTACH)$/.test(kind) && skipped.has(JSON.stringify([schemaName, objectName]))),
  )
}

async function listInheritedIndexes(connection: Connection, tables: readonly TableName[]): Promise<InheritedIndex[]> {
  const { rows } = await connection.query<InheritedIndex>(
    `select n.nspname as schema, c.relname as name, t.relname as "table", format('%I.%I', pn.nspname, p.relname) as parent
       from pg_catalog.pg_index x
       join pg_catalog.pg_class c on c.oid = x.indexrelid
       join pg_catalog.pg_class t on t.oid = x.indrelid
       join pg_catalog.pg_namespace n on n.oid = t.relnamespace
       join pg_catalog.pg_inherits i on i.inhrelid = x.indexrelid
       join pg_catalog.pg_class p on p.oid = i.inhparent
       join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
      where (n.nspname, t.relname) in (select * from unnest($1::name[], $2::name[]))`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  return rows
}
