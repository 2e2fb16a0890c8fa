import type { Connection } from '../connect.ts'
import { readRanges } from '../load/read-ranges.ts'
import { pageRanges, rangeCondition, rangeMethod } from '../load/table-range.ts'
import { tableKey, type TableName } from './compared-table.ts'
import { readRowIdentities } from './row-identity.ts'

/** Bytes of a part: a second or so, so that the parts of several big tables end at about the same time. */
export const PART_BYTES = 64 * 1024 * 1024
/** A part of a terabyte's table of 4 GB: beyond, parts grow. */
const MOST_PARTS = 256
const INTEGER_TYPES = ['smallint', 'integer', 'bigint']

/** Cuts tables of one side into parts, each of which is a condition of SQL; every row is in exactly one of them. */
export type CutTable = (table: TableName, bytes: number) => Promise<string[]>

/**
 * How the tables of this side are cut. The sums of the parts are those of the table, so the two sides need not be cut
 * in the same places: each is by its own pages, or by an integer key where the server reads no ranges of pages.
 *
 * @param partBytes of the heap
 */
export async function tableCutter(connection: Connection, partBytes: number): Promise<CutTable> {
  const { rows } = await connection.query<{ version: string; block: string }>(
    `select current_setting('server_version_num') as version, current_setting('block_size') as block`,
  )
  const major = Math.floor(Number(rows[0]!.version) / 10_000)
  const pageSize = Number(rows[0]!.block)
  const others = await listOtherThanHeaps(connection)
  let keys: Awaited<ReturnType<typeof readRowIdentities>> | undefined
  return async (table, bytes) => {
    const count = Math.min(Math.ceil(bytes / partBytes), MOST_PARTS)
    if (count < 2) return ['true']
    keys ??= major >= 14 ? new Map() : await readRowIdentities(connection)
    const [column, ...more] = keys.get(tableKey(table))?.columns ?? []
    const integerKey = column && more.length === 0 && INTEGER_TYPES.includes(column.type) ? column.name : null
    const method = rangeMethod({ heap: !others.has(tableKey(table)), integerKey }, major)
    if (method === undefined) return ['true']
    const ranges =
      method === 'pages'
        ? pageRanges(Math.ceil(bytes / pageSize), count)
        : await readRanges(connection, { ...table, oid: 0, integerKey }, method, count)
    return ranges.map((range) => rangeCondition(method, integerKey, range))
  }
}

/** Tables whose access method may have no pages in the sense of a heap. */
async function listOtherThanHeaps(connection: Connection): Promise<Set<string>> {
  const { rows } = await connection.query<TableName>(
    `select n.nspname as schema, c.relname as name
       from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       join pg_catalog.pg_am a        on a.oid = c.relam
      where c.relkind = 'r' and a.amname <> 'heap'`,
  )
  return new Set(rows.map(tableKey))
}
