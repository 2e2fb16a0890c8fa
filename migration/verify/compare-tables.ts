import type { Connection } from '../connect.ts'
import type { VerificationReport } from '../model/status.ts'
import {
  listComparedColumns,
  listComparedTables,
  tableKey,
  tableTitle,
  type ComparedColumn,
  type TableName,
} from './compared-table.ts'
import { toTableHash, type TableHash } from './table-hash.ts'
import { PART_BYTES, tableCutter } from './table-parts.ts'

/** A connection to one side, or a function that opens one, for a comparison over several. */
export type Side = Connection | (() => Promise<Connection>)

/** What a comparison looks at. */
export interface Measure {
  mode: 'Counts' | 'Checksums'
  /** Runs once in each session. */
  prepare?: (connection: Connection) => Promise<void>
  /**
   * A query of one row for the rows that a condition holds for: `rows`, `high` and `low`, sums of the rows as text. The
   * sums over all rows are equal on both sides if and only if the tables are.
   */
  query: (table: TableName, columns: ComparedColumn[], condition: string) => string
  /** True when the columns count, not only the rows. */
  columns: boolean
}

/** What fits into one query: it takes a moment, and many tables of an ordinary schema are as small. */
const SMALL_TABLE_BYTES = 1024 * 1024
const TABLES_PER_QUERY = 50

/**
 * Compares tables of the same name on both sides, the biggest first, over `width` connections to each side (one when
 * connections are given instead of functions that open them); big ones in parts. A table or column that one side does
 * not have is a difference, not an error.
 *
 * @param partBytes of the heap: what is bigger is cut
 */
export async function compareTables(
  measure: Measure,
  source: Side,
  target: Side,
  tables: TableName[],
  width = 1,
  partBytes?: number,
): Promise<VerificationReport> {
  const began = performance.now()
  const describing = (connection: Connection): Promise<Map<string, DescribedTable>> => describe(connection, measure)
  const [sourceTables, targetTables] = await Promise.all([withSide(source, describing), withSide(target, describing)])
  const differences: VerificationReport['differences'] = []
  const shared: PlannedTable[] = []
  for (const table of tables) {
    const [left, right] = [sourceTables.get(tableKey(table)), targetTables.get(tableKey(table))]
    const difference = measure.columns ? columnDifference(left?.columns, right?.columns) : undefined
    if (!left || !right) {
      differences.push({
        table: tableTitle(table),
        source: left ? 'the table' : 'no such table',
        target: right ? 'the table' : 'no such table',
      })
    } else if (difference) differences.push({ table: tableTitle(table), ...difference })
    else {
      const ours = { bytes: left.bytes, columns: left.columns, sums: noRows() }
      const theirs = { bytes: right.bytes, columns: sameOrder(left.columns, right.columns), sums: noRows() }
      shared.push({ table, bytes: left.bytes, source: ours, target: theirs })
    }
  }

  const batches = planBatches(shared)
  const stop = new AbortController()
  const [ours, theirs] = await Promise.allSettled(
    (['source', 'target'] as const).map((name) =>
      measureSide(measure, name, name === 'source' ? source : target, { batches, width, partBytes, stop }),
    ),
  )
  for (const outcome of [ours!, theirs!]) if (outcome.status === 'rejected') throw outcome.reason
  let compared = 0n
  for (const { table, source: left, target: right } of shared) {
    compared += left.sums.rows
    const [before, after] = [toTableHash(left.sums), toTableHash(right.sums)]
    if (before.rows === after.rows && before.hash === after.hash) continue
    const sameRows = before.rows === after.rows
    const words = ({ rows, hash }: TableHash): string => `${rows} rows${sameRows ? `, hash ${hash}` : ''}`
    differences.push({ table: tableTitle(table), source: words(before), target: words(after) })
  }
  return {
    mode: measure.mode,
    result: differences.length === 0 ? 'Equal' : 'Different',
    tables: tables.length,
    rows: Number(compared),
    seconds: Math.round(performance.now() - began) / 1000,
    differences: differences.toSorted((a, b) => (a.table < b.table ? -1 : 1)),
  }
}

interface PlannedTable {
  table: TableName
  bytes: number
  source: PlannedSide
  target: PlannedSide
}

interface PlannedSide {
  bytes: number
  columns: ComparedColumn[]
  /** Of the parts that have been measured. */
  sums: Sums
}

interface Sums {
  rows: bigint
  high: bigint
  low: bigint
}

const noRows = (): Sums => ({ rows: 0n, high: 0n, low: 0n })

/** What one query measures: a part of a big table, or several small ones whole. */
interface Job {
  table: TableName
  side: PlannedSide
  condition: string
}

/** Measures all tables of one side, whatever the other side does. */
async function measureSide(
  measure: Measure,
  name: 'source' | 'target',
  side: Side,
  work: { batches: PlannedTable[][]; width: number; partBytes: number | undefined; stop: AbortController },
): Promise<void> {
  const { batches, width, partBytes = PART_BYTES, stop } = work
  const isBig = (batch: PlannedTable[]): boolean => batch.length === 1 && batch[0]![name].bytes > partBytes
  const queue: Job[][] = []
  const add = (batch: PlannedTable[], condition = 'true'): unknown =>
    queue.push(batch.map(({ table, [name]: planned }) => ({ table, side: planned, condition })))
  if (batches.some(isBig)) {
    await withSide(side, async (connection) => {
      const cut = await tableCutter(connection, partBytes)
      for (const batch of batches.filter(isBig)) {
        for (const condition of await cut(batch[0]!.table, batch[0]![name].bytes)) add(batch, condition)
      }
    })
  }
  for (const batch of batches) if (!isBig(batch)) add(batch)
  const outcomes = await Promise.allSettled(
    Array.from({ length: typeof side === 'function' ? Math.min(width, queue.length) : 1 }, () =>
      withSide(side, async (session) => {
        await measure.prepare?.(session)
        for (let batch = queue.shift(); batch && !stop.signal.aborted; batch = queue.shift()) {
          await measureBatch(session, measure, batch)
        }
      }).catch((error: unknown) => {
        // The others end after the batch that they have in hand.
        stop.abort()
        throw error
      }),
    ),
  )
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}

async function measureBatch(session: Connection, { query }: Measure, batch: Job[]): Promise<void> {
  const parts = batch.map(
    ({ table, side, condition }, index) =>
      `select ${index} as position, rows, high, low from (${query(table, side.columns, condition)}) as t${index}`,
  )
  const { rows } = await session.query<Record<'rows' | 'high' | 'low', string>>(
    `${parts.join('\nunion all\n')}\norder by position`,
  )
  for (const [index, { side }] of batch.entries()) {
    const { rows: count, high, low } = rows[index]!
    side.sums.rows += BigInt(count)
    side.sums.high += BigInt(high)
    side.sums.low += BigInt(low)
  }
}

/** Big tables alone and first, small ones together. */
export function planBatches<T extends { bytes: number }>(tables: T[]): T[][] {
  const big = tables.filter(({ bytes }) => bytes > SMALL_TABLE_BYTES).toSorted((a, b) => b.bytes - a.bytes)
  const small = tables.filter(({ bytes }) => bytes <= SMALL_TABLE_BYTES)
  const batches = big.map((table) => [table])
  for (let start = 0; start < small.length; start += TABLES_PER_QUERY) {
    batches.push(small.slice(start, start + TABLES_PER_QUERY))
  }
  return batches
}

interface DescribedTable {
  bytes: number
  columns: ComparedColumn[]
}

async function describe(connection: Connection, measure: Measure): Promise<Map<string, DescribedTable>> {
  const tables = await listComparedTables(connection)
  const columns = measure.columns ? await listComparedColumns(connection) : new Map<string, ComparedColumn[]>()
  return new Map(
    tables.map((table) => {
      const key = tableKey(table)
      return [key, { bytes: table.bytes, columns: columns.get(key) ?? [] }]
    }),
  )
}

function columnDifference(
  source: ComparedColumn[] | undefined,
  target: ComparedColumn[] | undefined,
): { source: string; target: string } | undefined {
  if (!source || !target) return undefined
  const only = (these: ComparedColumn[], those: ComparedColumn[]): string => {
    const extra = these.filter(({ name }) => !those.some((other) => other.name === name))
    return extra.length === 0 ? 'no other column' : `column ${extra.map(({ name }) => name).join(', ')}`
  }
  const sides = { source: only(source, target), target: only(target, source) }
  return sides.source === sides.target ? undefined : sides
}

function sameOrder(source: ComparedColumn[], target: ComparedColumn[]): ComparedColumn[] {
  return source.map(({ name }) => target.find((column) => column.name === name) ?? { name, type: '' })
}

async function withSide<T>(side: Side, work: (connection: Connection) => Promise<T>): Promise<T> {
  if (typeof side !== 'function') return work(side)
  await using connection = await side()
  return await work(connection)
}
