import type { Connection } from '../connect.ts'
import { listComparedColumns, tableKey } from './compared-table.ts'
import type { RowsOf } from './row-digests.ts'
import { readRowIdentities } from './row-identity.ts'
import type { Digest } from './table-hash.ts'

/**
 * How the rows of each table are read on both sides, by {@link tableKey}: by the key of the source and the columns that
 * both have; while a table is being altered, one side is ahead. Tables without a column or the key in common are left
 * out.
 */
export async function readRowsOf(source: Connection, target: Connection, digest: Digest): Promise<Map<string, RowsOf>> {
  const identities = await readRowIdentities(source)
  const ours = await listComparedColumns(source)
  const theirs = await listComparedColumns(target)
  const tables = new Map<string, RowsOf>()
  for (const [key, columns] of ours) {
    const there = new Set((theirs.get(key) ?? []).map(({ name }) => name))
    const shared = columns.filter(({ name }) => there.has(name))
    const [schema, name] = key.split('\0') as [string, string]
    const identity = identities.get(key) ?? { columns: [], ordered: false }
    if (shared.length === 0 || identity.columns.some((column) => !there.has(column.name))) continue
    tables.set(tableKey({ schema, name }), { table: { schema, name }, columns: shared, identity, digest })
  }
  return tables
}
