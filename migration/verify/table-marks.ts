import type { Connection } from '../connect.ts'
import { BLOCK } from '../replicate/apply/integer-blocks.ts'
import { inKeys, inRange, keyList, type Condition, type Key } from './key-range.ts'
import type { KeyColumn } from './row-identity.ts'

/** Rows that are compared in one statement, at most about. */
const ROWS_AT_A_TIME = 10_000
/** Neighbouring blocks that are read as one range of the key; fewer are looked up key by key. */
const RANGE_BLOCKS = 8

/** The marks of a table: which of its rows were changed. */
export interface TableMarks {
  keys: Key[]
  /** In their order. */
  blocks: number[]
}

/** Reads all marks of a table, each once. @param columns of its key */
export async function readMarks(target: Connection, id: number, columns: number): Promise<TableMarks> {
  const names = Array.from({ length: columns }, (_, i) => `c${i}`)
  const { rows: blockRows } = await target.query<{ block: string }>(
    `select distinct part.block
       from pgflex.change_mark m, unnest(m.blocks) as part (block)
      where m.table_id = $1
      order by 1`,
    [id],
  )
  const arrays = names.map((_, i) => `m.keys[${i + 1}]::text[]`)
  const { rows: keyRows } = await target.query<string[]>({
    text: `select distinct part.*
             from pgflex.change_mark m, unnest(${arrays.join(', ')}) as part (${names.join(', ')})
            where m.table_id = $1 and m.keys is not null`,
    values: [id],
    rowMode: 'array',
  })
  const blocks = blockRows.map(({ block }) => Number(block))
  const known = new Set(blocks)
  const isCovered = ([first]: Key): boolean => {
    const number = known.size > 0 ? Number(first) : NaN
    // A greater one is rounded, into another block.
    return Number.isSafeInteger(number) && known.has(Math.floor(number / BLOCK))
  }
  return { keys: keyRows.filter((key) => !isCovered(key)).toSorted(inOrder), blocks }
}

/** Neighbours lie together in the table, often: they are looked up together. */
function inOrder([a]: Key, [b]: Key): number {
  const [left, right] = [Number(a), Number(b)]
  return Number.isNaN(left) || Number.isNaN(right) ? (a! < b! ? -1 : 1) : left - right
}

/** The conditions of the rows that are marked, each of which holds for some thousand rows at most. */
export function markedConditions({ keys, blocks }: TableMarks, columns: KeyColumn[]): Condition[] {
  const conditions: Condition[] = []
  for (let start = 0; start < keys.length; start += ROWS_AT_A_TIME) {
    conditions.push(inKeys(columns, keys.slice(start, start + ROWS_AT_A_TIME)))
  }
  const single: number[] = []
  for (const run of runs(blocks, Math.floor(ROWS_AT_A_TIME / BLOCK))) {
    if (run.length < RANGE_BLOCKS) single.push(...run)
    else {
      const [first, last] = [run[0]! * BLOCK, (run.at(-1)! + 1) * BLOCK - 1]
      conditions.push(blockRange(columns, first, last))
    }
  }
  const most = Math.floor(ROWS_AT_A_TIME / BLOCK)
  for (let start = 0; start < single.length; start += most) {
    conditions.push(inBlocks(columns, single.slice(start, start + most)))
  }
  return conditions
}

/** Numbers that follow each other, in parts of a limited length. */
export function runs(numbers: readonly number[], most: number): number[][] {
  const found: number[][] = []
  let run: number[] = []
  for (const number of numbers) {
    if (run.length === most || (run.length > 0 && number !== run.at(-1)! + 1)) {
      found.push(run)
      run = []
    }
    run.push(number)
  }
  return run.length > 0 ? [...found, run] : found
}

function blockRange(columns: KeyColumn[], first: number, last: number): Condition {
  // Blocks begin at the bounds of the integer types, whose least value has none before it.
  const { sql, values } = inRange(columns, { upper: [String(last)] })
  return { sql: `${sql} and ${keyList(columns)} >= $2::${columns[0]!.type}`, values: [...values, String(first)] }
}

/** Key by key: an index finds each, whatever the planner thinks of their number. */
function inBlocks(columns: KeyColumn[], blocks: number[]): Condition {
  return {
    sql: `${keyList(columns)} in (
      select (block * ${BLOCK} + part)::${columns[0]!.type}
        from unnest($1::bigint[]) as marked (block), generate_series(0, ${BLOCK - 1}) as parts (part))`,
    values: [blocks],
  }
}
