import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import type { Lease } from '../control/lease.ts'
import { removeTable } from './table-copy.ts'
import { listTables, type TableName } from './tables.ts'

/** undefined_table, invalid_schema_name */
const NOT_THERE = new Set(['42P01', '3F000'])

/** True when a copy failed with this SQLSTATE because the source no longer has the table. */
export async function isDropped(
  context: DatabaseContext,
  table: TableName,
  state: string | undefined,
): Promise<boolean> {
  if (state === undefined || !NOT_THERE.has(state)) return false
  await using source = await context.source('dropped table')
  return (await listTables(source, () => true, [table])).length === 0
}

/**
 * Takes a table out of the load that the source no longer has: there is nothing to copy and nothing to follow. Under
 * the new name of one that was renamed it is not followed either; findUnfollowedTables tells that one.
 */
export async function leaveOutDropped(
  context: DatabaseContext,
  control: Connection,
  lease: Pick<Lease, 'name' | 'fence'>,
  table: TableName,
): Promise<void> {
  const onTarget = (await listTables(control, () => true, [table])).length > 0
  const warning =
    `${table.schema}.${table.name} was dropped or renamed on the source while tables were copied, and is left out.` +
    (onTarget ? ' The target keeps the table that was made for it: drop it there if nobody needs it.' : '')
  let isNew = false
  await context.status((status) => {
    isNew = !status.warnings.includes(warning)
    return isNew ? { ...status, warnings: [...status.warnings, warning] } : status
  })
  if (isNew) await context.event({ level: 'warning', event: 'TableDropped', message: warning })
  // Last: an activity that dies before it comes here again.
  await removeTable(control, lease, table)
}
