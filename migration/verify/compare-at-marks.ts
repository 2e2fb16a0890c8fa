import type { Connection } from '../connect.ts'
import type { TableDifference } from '../model/status.ts'
import { bothSettled } from './both-settled.ts'
import { commonDigest, versionOf } from './compare-checksums.ts'
import type { ComparedTableState } from './compared-tables.ts'
import { tableKey, tableTitle, type TableName } from './compared-table.ts'
import type { Condition } from './key-range.ts'
import { addRowDifferences, ROWS_SHOWN } from './row-differences.ts'
import { digestsWhere, hashWhere, type RowsOf } from './row-digests.ts'
import type { KeyColumn } from './row-identity.ts'
import { describeRows } from './row-values.ts'
import { readRowsOf } from './rows-of.ts'
import { pinOutput, type TableHash } from './table-hash.ts'
import { markedConditions, readMarks } from './table-marks.ts'

/** A table of which only the marked rows are to be compared. */
export interface TableToCompare extends TableName {
  state: Pick<ComparedTableState, 'id' | 'keyColumns' | 'marks'>
}

/** Marks that are in memory at the same time: some 100 MB. */
const MARKS_AT_A_TIME = 1_000_000

type Open = () => Promise<Connection>

interface Piece {
  rows: RowsOf
  condition: Condition
}

/**
 * Compares the rows that were changed since their tables were found equal, over `width` pairs of connections. Nobody may
 * write on either side, and all changes have to be on the target.
 *
 * @throws whatever a query throws: no permission, connection lost
 */
export async function compareAtMarks(
  source: Open,
  target: Open,
  tables: readonly TableToCompare[],
  width: number,
): Promise<{ rows: number; differences: TableDifference[] }> {
  const found = { rows: 0, differences: [] as TableDifference[] }
  const marked = tables.filter(({ state }) => state.keyColumns !== null && state.marks > 0)
  if (marked.length === 0) return found
  await using stack = new AsyncDisposableStack()
  const sessions = await Promise.all(
    Array.from({ length: width }, async () => {
      const [ours, theirs] = await Promise.all([openSession(source, stack), openSession(target, stack)])
      return { source: ours, target: theirs }
    }),
  )
  const [{ source: ours, target: theirs }] = sessions as [(typeof sessions)[number]]
  const digest = commonDigest(await bothSettled(versionOf(ours), versionOf(theirs)))
  const plans = await readRowsOf(ours, theirs, digest)
  const columns = await readKeyColumns(ours, marked)
  for (const group of inGroups(marked)) {
    const pieces: Piece[] = []
    await inParallel(sessions, group.slice(), async (pair, table) => {
      const key = columns.get(tableKey(table)) ?? []
      const rows = plans.get(tableKey(table))
      // Their definitions are as they were when it was compared.
      if (!rows || key.length !== table.state.keyColumns!.length) throw new Error(`${tableKey(table)} has no such key`)
      const marks = await readMarks(pair.target, table.state.id, key.length)
      const marksOf = { ...rows, identity: { columns: key, ordered: false } }
      pieces.push(...markedConditions(marks, key).map((condition) => ({ rows: marksOf, condition })))
    })
    await inParallel(sessions, pieces, async (pair, piece) => {
      const [left, right] = await bothSettled(
        hashWhere(pair.source, piece.rows, piece.condition),
        hashWhere(pair.target, piece.rows, piece.condition),
      )
      found.rows += Number(left.rows)
      if (left.rows !== right.rows || left.hash !== right.hash) {
        await describeDifferences(pair.source, pair.target, piece, found.differences)
        addHashes(found.differences, tableTitle(piece.rows.table), left, right)
      }
    })
  }
  return found
}

/** Adds the rows of a piece that differ, as far as some of its table are not known yet. */
async function describeDifferences(
  source: Connection,
  target: Connection,
  { rows, condition }: Piece,
  differences: TableDifference[],
): Promise<void> {
  const title = tableTitle(rows.table)
  const known = differences.find(({ table }) => table === title)?.rows?.length ?? 0
  if (known >= ROWS_SHOWN) return
  const [left, right] = await bothSettled(digestsWhere(source, rows, condition), digestsWhere(target, rows, condition))
  const differing = [...new Set([...left.keys(), ...right.keys()])]
    .filter((id) => left.get(id) !== right.get(id))
    .slice(0, ROWS_SHOWN - known)
    .map((id) => ({ id, onSource: left.has(id), onTarget: right.has(id) }))
  addRowDifferences(differences, title, await describeRows(source, target, rows, differing))
}

/** Rows that are there twice have one key, and one digest: they differ all the same. */
function addHashes(differences: TableDifference[], table: string, source: TableHash, target: TableHash): void {
  if (differences.some((one) => one.table === table)) return
  const words = ({ rows, hash }: TableHash): string => `${rows} changed rows, hash ${hash}`
  differences.push({ table, source: words(source), target: words(target), rows: [] })
}

/** Rows are found through the index of their key; left to itself, the planner may read a table whole for some thousand. */
async function openSession(open: Open, stack: AsyncDisposableStack): Promise<Connection> {
  const session = stack.use(await open())
  await pinOutput(session)
  await session.query(
    'set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set random_page_cost = 1; set jit = off',
  )
  return session
}

/** The columns that the marks of each table are of, with their types. */
async function readKeyColumns(
  source: Connection,
  tables: readonly TableToCompare[],
): Promise<Map<string, KeyColumn[]>> {
  const { rows } = await source.query<TableName & { column: string; type: string }>(
    `select n.nspname as schema, c.relname as name, a.attname as column,
            pg_catalog.format_type(a.atttypid, -1) as type
       from json_to_recordset($1::json) as wanted (schema text, name text, columns json)
       join pg_catalog.pg_namespace n on n.nspname = wanted.schema
       join pg_catalog.pg_class c     on c.relnamespace = n.oid and c.relname = wanted.name and c.relkind = 'r'
       cross join lateral json_array_elements_text(wanted.columns) with ordinality as part (name, position)
       join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = part.name and a.attnum > 0
      order by part.position`,
    [JSON.stringify(tables.map(({ schema, name, state }) => ({ schema, name, columns: state.keyColumns })))],
  )
  const columns = new Map<string, KeyColumn[]>()
  for (const { schema, name, column, type } of rows) {
    const key = tableKey({ schema, name })
    columns.set(key, [...(columns.get(key) ?? []), { name: column, type }])
  }
  return columns
}

function inGroups(tables: readonly TableToCompare[]): TableToCompare[][] {
  const groups: TableToCompare[][] = []
  let marks = Infinity
  for (const table of tables) {
    if (marks + table.state.marks > MARKS_AT_A_TIME) {
      groups.push([])
      marks = 0
    }
    groups.at(-1)!.push(table)
    marks += table.state.marks
  }
  return groups
}

/** Does all of it, one thing at a time in each session; the first failure ends it. */
async function inParallel<S, T>(sessions: readonly S[], queue: T[], work: (session: S, one: T) => Promise<void>) {
  const outcomes = await Promise.allSettled(
    sessions.map(async (session) => {
      try {
        for (let one = queue.shift(); one !== undefined; one = queue.shift()) await work(session, one)
      } catch (error) {
        queue.length = 0
        throw error
      }
    }),
  )
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}
