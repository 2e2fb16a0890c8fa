import { mergeTuples, type Tuple } from '../tuple.ts'
import type { RowMessage } from '../pgoutput-message.ts'
import { hasIntegerKey, integerKey } from './integer-key.ts'
import { blockMark, keyMark, keyColumnsMark, wholeMark } from './mark-statements.ts'
import { rowKey, type RowKey } from './row-key.ts'
import type { Statement } from './statements.ts'
import type { TablePlan } from './table-plan.ts'

/** A table whose changes are marked. */
export interface MarkedTable {
  /** Of pgflex.compared_table. */
  id: number
  schema: string
  name: string
  /** Marks that are there already, about. */
  marks: number
}

/** Neighbouring integer keys that are marked together. Divides the bounds of the integer types, so that no block is cut. */
export const BLOCK = 64
/** Keys of a block after which the block is marked: rows that follow each other cost at most a quarter of a mark each. */
export const DENSE = 16
/** Marks of a table: to look up as many rows takes some seconds. Beyond, the table is compared whole. */
export const MOST_MARKS = 500_000
/** Marks that are remembered, so that a row is marked once: some 10 MB. */
const REMEMBERED = 100_000

/**
 * The marks of one table under one plan: which rows have been changed. What has been marked once is not marked again as
 * long as it is remembered; the marks are written in the transaction of the changes, so whatever is remembered is there
 * if any later change is.
 */
export class TableMarks {
  readonly table: MarkedTable
  readonly #plan: TablePlan
  readonly #most: number
  readonly #isInteger: boolean
  #count: number
  #whole = false
  /** What the marks are of has been written. */
  #named = false
  readonly #known = new Set<RowKey>()
  /** How many keys of a block are marked; from DENSE on all of it. */
  readonly #blocks = new Map<number, number>()
  /** Not yet written: rows with the keys, and the blocks that integers among them are of. */
  #rows: Tuple[] = []
  #rowBlocks: number[] = []
  #fresh: number[] = []
  #toWhole = false

  constructor(table: MarkedTable, plan: TablePlan, most = MOST_MARKS) {
    this.table = table
    this.#plan = plan
    this.#most = most
    this.#isInteger = hasIntegerKey(plan)
    this.#count = table.marks
  }

  change(message: RowMessage): void {
    if (this.#whole) return
    if (!this.#plan.key) this.markWhole()
    else if (message.kind === 'insert') this.#mark(message.row)
    else if (message.kind === 'delete') this.#mark(message.old.row)
    else if (!message.old) this.#mark(message.row)
    else {
      this.#mark(message.old.row)
      // A part of the key that was stored out of line and did not change was not sent again.
      this.#mark(mergeTuples(message.old.row, message.row))
    }
  }

  markWhole(): void {
    if (this.#whole) return
    this.#whole = this.#toWhole = true
    this.#rows = []
    this.#rowBlocks = []
    this.#fresh = []
    this.#forget()
  }

  /** The statements for what has been marked since the last time. */
  take(): Statement[] {
    const { id } = this.table
    if (this.#whole) {
      const statements = this.#toWhole ? [wholeMark(id)] : []
      this.#toWhole = false
      return statements
    }
    // A block that became dense later has them, too.
    const rows = this.#isInteger ? this.#rows.filter((_, i) => !this.#isDense(this.#rowBlocks[i]!)) : this.#rows
    const blocks = this.#fresh
    const statements = [
      ...(this.#named ? [] : [keyColumnsMark(id, this.#plan)]),
      ...(rows.length > 0 ? [keyMark(id, this.#plan, rows)] : []),
      ...(blocks.length > 0 ? [blockMark(id, blocks)] : []),
    ]
    this.#named = true
    this.#count += rows.length + blocks.length
    this.#rows = []
    this.#rowBlocks = []
    this.#fresh = []
    if (this.#known.size + this.#blocks.size > REMEMBERED) this.#forget()
    return statements
  }

  #mark(row: Tuple): void {
    const integer = this.#isInteger ? integerKey(row, this.#plan) : undefined
    const block = integer === undefined ? NaN : Math.floor(integer / BLOCK)
    if (integer !== undefined && this.#isDense(block)) return
    const key = integer ?? rowKey(row, this.#plan.keyPositions)
    if (this.#known.has(key)) return
    this.#known.add(key)
    if (integer === undefined || !this.#fills(block)) {
      this.#rows.push(row)
      this.#rowBlocks.push(block)
    }
    if (this.#count + this.#rows.length + this.#fresh.length > this.#most) this.markWhole()
  }

  /** Counts a key of a block. @returns true when it makes the block dense */
  #fills(block: number): boolean {
    const count = (this.#blocks.get(block) ?? 0) + 1
    this.#blocks.set(block, count)
    if (count < DENSE) return false
    this.#fresh.push(block)
    return true
  }

  #isDense(block: number): boolean {
    return (this.#blocks.get(block) ?? 0) >= DENSE
  }

  #forget(): void {
    this.#known.clear()
    this.#blocks.clear()
  }
}
