import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { listTableNames, type ListedTable, type TableName } from '../load/tables.ts'
import { tableFilter, type TableFilter } from '../model/table-filter.ts'
import { readPublished } from './publication.ts'
import { sourceObjects } from './slot-name.ts'

/** How the source's tables differ from those that the migration began with: `schema.table`, sorted. */
export interface UnfollowedTables {
  /** Not copied, or not published: made, renamed or made anew since. Their rows are missing on the target. */
  added: string[]
  /** Copied, and no longer on the source. */
  dropped: string[]
}

/**
 * Looks whether all tables that the source has now are copied and followed. Unlogged tables are in no publication
 * on purpose.
 */
export async function findUnfollowedTables(context: DatabaseContext): Promise<UnfollowedTables> {
  await using source = await context.source('tables')
  await using target = await context.target('tables')
  return await readUnfollowedTables(context, source, target)
}

/** {@link findUnfollowedTables} over sessions that are there: three short queries, no locks on tables. */
export async function readUnfollowedTables(
  context: DatabaseContext,
  source: Connection,
  target: Connection,
): Promise<UnfollowedTables> {
  const { publication, insertsPublication } = sourceObjects(context.key, context.database)
  const { rows: copied } = await target.query<TableName>(
    // One that could not be copied is not followed either.
    `select schema_name as schema, table_name as name from pgflex.table_copy where state <> 'errored'`,
  )
  // The publications first: a table that is dropped in between is then in neither of the two that count.
  const published = await readPublished(source, [publication, insertsPublication])
  const tables = await listTableNames(source, () => true)
  return compareTables({ tables, copied, published, filter: tableFilter(context.record.properties.pgflex) })
}

/** @param published object ids: a table that was dropped and made again has another one */
export function compareTables({
  tables,
  copied,
  published,
  filter,
}: {
  tables: ListedTable[]
  copied: TableName[]
  published: Set<string>
  filter: TableFilter
}): UnfollowedTables {
  const wasCopied = new Set(copied.map(keyOf))
  const isThere = new Set(tables.map(keyOf))
  return {
    added: tables
      .filter(({ schema, name }) => filter(schema, name))
      .filter((table) => !wasCopied.has(keyOf(table)) || !(table.unlogged || published.has(table.oid)))
      .map(title)
      .toSorted(),
    dropped: copied
      .filter((table) => !isThere.has(keyOf(table)))
      .map(title)
      .toSorted(),
  }
}

const keyOf = ({ schema, name }: TableName): string => JSON.stringify([schema, name])
const title = ({ schema, name }: TableName): string => `${schema}.${name}`
