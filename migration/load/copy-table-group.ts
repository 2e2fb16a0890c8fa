import { checkFence, type Lease } from '../control/lease.ts'
import { id } from '../sql.ts'
import { relayCopies } from './copy-relay.ts'
import type { CopySessions } from './copy-session.ts'
import { beginRead, checkRows, columnList } from './copy-table.ts'
import { keyOf, type PlannedCopy } from './planned-copy.ts'
import type { Snapshot } from './slot-snapshot.ts'
import type { TableName } from './tables.ts'

export interface TableGroupOptions {
  snapshot: Snapshot
  lease: Pick<Lease, 'name' | 'fence'>
  onBytes: (bytes: number) => number | void
}

/**
 * Copies many small tables in one transaction on each side, with their marks: the commands of all of them are one
 * query, so that a table costs no round trip of its own.
 *
 * They are emptied only where there is something to empty: new files for each table would be most of the work, and
 * rows that arrive frozen are worth it for large tables only.
 *
 * The sessions are of no use after an error, which does not say which table it is about: copy them one by one then.
 *
 * @returns how many were copied; those that were completed before are left alone
 */
export async function copyTableGroup(
  { reader, writer }: Pick<CopySessions, 'reader' | 'writer'>,
  group: readonly PlannedCopy[],
  { snapshot, lease, onBytes }: TableGroupOptions,
): Promise<number> {
  await writer.query('begin')
  const open = await notCompleted(writer, group)
  if (open.length > 0) {
    const tables = open.map(({ table }) => table)
    await Promise.all([beginRead(reader, snapshot.name), emptyTables(writer, tables)])
    let bytes = 0
    const command = ({ table, format }: PlannedCopy, direction: string): string =>
      `copy ${id(table.schema, table.name)}${columnList(table)} ${direction} (format ${format})`
    const { sent, written } = await relayCopies(
      { reader, writer },
      {
        read: open.map((copy) => command(copy, 'to stdout')).join(';\n'),
        write: open.map((copy) => command(copy, 'from stdin')).join(';\n'),
        onBytes(length) {
          bytes += length
          return onBytes(length)
        },
      },
    )
    for (const [n, table] of tables.entries()) checkRows(table, { rows: written[n]!, bytes, sent: () => sent[n]! })
    await Promise.all([reader.query('commit'), checkFence(writer, lease)])
    await markCompleted(writer, tables, { lsn: snapshot.lsn, rows: written, bytes })
  }
  await writer.query('commit')
  return open.length
}

/** A run before may have completed some, and died before it heard of it. */
async function notCompleted(
  writer: CopySessions['writer'],
  group: readonly PlannedCopy[],
): Promise<readonly PlannedCopy[]> {
  const { rows } = await writer.query<TableName>(
    `select schema_name as schema, table_name as name
       from pgflex.table_copy
      where (schema_name, table_name) in (select * from unnest($1::text[], $2::text[])) and state <> 'completed'`,
    names(group.map(({ table }) => table)),
  )
  const open = new Set(rows.map(keyOf))
  return group.filter(({ table }) => open.has(keyOf(table)))
}

async function emptyTables(writer: CopySessions['writer'], tables: readonly TableName[]): Promise<void> {
  const list = (some: readonly TableName[]): string =>
    some.map(({ schema, name }) => `only ${id(schema, name)}`).join(', ')
  await writer.query(`lock table ${list(tables)} in access exclusive mode`)
  // No page, no row.
  const { rows } = await writer.query<TableName>(
    `select n.nspname as schema, c.relname as name
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where (n.nspname, c.relname) in (select * from unnest($1::name[], $2::name[])) and pg_relation_size(c.oid) > 0`,
    names(tables),
  )
  if (rows.length > 0) await writer.query(`truncate ${list(rows)}`)
}

async function markCompleted(
  writer: CopySessions['writer'],
  tables: readonly TableName[],
  { lsn, rows, bytes }: { lsn: string | undefined; rows: number[]; bytes: number },
): Promise<void> {
  // The stream is one for all: what each table had of it is not told, and of no weight.
  await writer.query(
    `update pgflex.table_copy t
        set state = 'completed', snapshot_lsn = $4, rows_done = g.rows, bytes_done = $5,
            started_at = now(), ended_at = clock_timestamp(), message = null
       from unnest($1::text[], $2::text[], $3::int8[]) as g (schema_name, table_name, rows)
      where t.schema_name = g.schema_name and t.table_name = g.table_name`,
    [...names(tables), rows, lsn ?? null, Math.round(bytes / tables.length)],
  )
}

const names = (tables: readonly TableName[]): [string[], string[]] => [
  tables.map(({ schema }) => schema),
  tables.map(({ name }) => name),
]
