import type { Connection } from '../connect.ts'
import type { VerificationReport } from '../model/status.ts'
import { bothSettled } from './both-settled.ts'
import {
  listComparedColumns,
  listComparedTables,
  tableKey,
  type ComparedColumn,
  type TableName,
} from './compared-table.ts'

/** A connection to one side, or a function that opens one, for a comparison over several. */
export type Side = Connection | (() => Promise<Connection>)

/** What a comparison looks at. */
export interface Measure {
  mode: 'Counts' | 'Checksums'
  /** Runs once in each session. */
  prepare?: (connection: Connection) => Promise<void>
  /** A query of one row: `rows` and `content`, both text; equal on both sides if and only if the tables are. */
  query: (table: TableName, columns: ComparedColumn[]) => string
  /** True when the columns count, not only the rows. */
  columns: boolean
}

/** What fits into one query: it takes a moment, and many tables of an ordinary schema are as small. */
const SMALL_TABLE_BYTES = 1024 * 1024
const TABLES_PER_QUERY = 50

/**
 * Compares tables of the same name on both sides, the biggest first, over `width` pairs of connections (one
 * when connections are given instead of functions that open them). A table or column that one side does not
 * have is a difference, not an error.
 */
export async function compareTables(
  measure: Measure,
  source: Side,
  target: Side,
  tables: TableName[],
  width = 1,
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
        table: label(table),
        source: left ? 'the table' : 'no such table',
        target: right ? 'the table' : 'no such table',
      })
    } else if (difference) differences.push({ table: label(table), ...difference })
    else shared.push({ table, bytes: left.bytes, source: left.columns, target: sameOrder(left.columns, right.columns) })
  }

  const queue = planBatches(shared)
  let compared = 0
  async function work(sourceSession: Connection, targetSession: Connection): Promise<void> {
    await Promise.all([measure.prepare?.(sourceSession), measure.prepare?.(targetSession)])
    for (let batch = queue.shift(); batch; batch = queue.shift()) {
      const [left, right] = await bothSettled(
        measureBatch(sourceSession, measure, batch, 'source'),
        measureBatch(targetSession, measure, batch, 'target'),
      )
      for (const [index, { table }] of batch.entries()) {
        const [ours, theirs] = [left[index]!, right[index]!]
        compared += Number(ours.rows)
        if (ours.rows === theirs.rows && ours.content === theirs.content) continue
        const sameRows = ours.rows === theirs.rows
        const words = (side: Measured): string => `${side.rows} rows${sameRows ? `, hash ${side.content}` : ''}`
        differences.push({ table: label(table), source: words(ours), target: words(theirs) })
      }
    }
  }
  const pairs = typeof source === 'function' && typeof target === 'function' ? Math.min(width, queue.length) : 1
  const outcomes = await Promise.allSettled(
    Array.from({ length: pairs }, () =>
      withSide(source, (s) => withSide(target, (t) => work(s, t))).catch((error: unknown) => {
        // The other pairs end after the batch that they have in hand.
        queue.length = 0
        throw error
      }),
    ),
  )
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  return {
    mode: measure.mode,
    result: differences.length === 0 ? 'Equal' : 'Different',
    tables: tables.length,
    rows: compared,
    seconds: Math.round(performance.now() - began) / 1000,
    differences: differences.toSorted((a, b) => (a.table < b.table ? -1 : 1)),
  }
}

interface PlannedTable {
  table: TableName
  bytes: number
  source: ComparedColumn[]
  target: ComparedColumn[]
}

interface Measured {
  rows: string
  content: string
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

async function measureBatch(
  connection: Connection,
  { query }: Measure,
  batch: PlannedTable[],
  side: 'source' | 'target',
): Promise<Measured[]> {
  const parts = batch.map(
    (planned, index) =>
      `select ${index} as position, rows, content from (${query(planned.table, planned[side])}) as t${index}`,
  )
  const { rows } = await connection.query<Measured>(`${parts.join('\nunion all\n')}\norder by position`)
  return rows
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

function label({ schema, name }: TableName): string {
  return `${schema}.${name}`
}
