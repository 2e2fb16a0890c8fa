import { mergeTuples, type Tuple } from '../tuple.ts'
import type { RowMessage } from '../pgoutput-message.ts'
import { hasIntegerKey, integerKey } from './integer-key.ts'
import { IntegerBlocks, BLOCK } from './integer-blocks.ts'
import { blockMark, integerMark, keyMark, keyColumnsMark, wholeMark } from './mark-statements.ts'
import { rowKey, type RowKey } from './row-key.ts'
import type { Statement } from './statements.ts'
import { CATALOG_EQUALS, type TablePlan } from './table-plan.ts'

/** A table whose changes are marked. */
export interface MarkedTable {
  /** Of pgflex.compared_table. */
  id: number
  schema: string
  name: string
  /** Marks that are there already, about. */
  marks: number
}

/** Marks of a table: to look up as many rows takes some seconds. Beyond, the table is compared whole. */
export const MOST_MARKS = 500_000
/** Marks, or blocks with marks, that are remembered, so that a row is marked once: some 10 MB. */
const REMEMBERED = 100_000

/**
 * The marks of one table under one plan: which rows have been changed. What has been marked once is not marked again as
 * long as it is remembered; the marks are written in the transaction of the changes, so whatever is remembered is there
 * if any later change is.
 */
export class TableMarks {
  readonly table: MarkedTable
  /** It is on the list of those with something to write. */
  isListed = false
  readonly #plan: TablePlan
  readonly #most: number
  readonly #isInteger: boolean
  /** By the operators that a comparison has, an index of the key finds a row. */
  readonly #canBeFound: boolean
  #count: number
  #whole = false
  /** What the marks are of has been written. */
  #named = false
  readonly #integers = new IntegerBlocks()
  /** Other keys than integers that JavaScript has. */
  readonly #keys = new Set<RowKey>()
  /** Not yet written. */
  #newIntegers: number[] = []
  #newRows: Tuple[] = []
  #newBlocks: number[] = []
  #toWhole = false

  constructor(table: MarkedTable, plan: TablePlan, most = MOST_MARKS) {
    this.table = table
    this.#plan = plan
    this.#most = most
    this.#isInteger = hasIntegerKey(plan)
    this.#canBeFound = plan.key?.every(({ operator }) => operator === CATALOG_EQUALS) ?? false
    this.#count = table.marks
  }

  change(message: RowMessage): void {
    if (this.#whole) return
    if (!this.#canBeFound) this.markWhole()
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
    this.#taken()
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
    const [rows, blocks] = [this.#newRows, this.#newBlocks]
    // A block that became dense later has them, too.
    const integers =
      blocks.length === 0 ? this.#newIntegers : this.#newIntegers.filter((key) => !this.#integers.isDense(key))
    const statements = [
      ...(this.#named ? [] : [keyColumnsMark(id, this.#plan)]),
      ...(integers.length > 0 ? [integerMark(id, integers)] : []),
      ...(rows.length > 0 ? [keyMark(id, this.#plan, rows)] : []),
      ...(blocks.length > 0 ? [blockMark(id, blocks)] : []),
    ]
    this.#named = true
    this.#count += integers.length + rows.length + blocks.length
    this.#taken()
    if (this.#keys.size + this.#integers.blocks > REMEMBERED) this.#forget()
    return statements
  }

  #mark(row: Tuple): void {
    const integer = this.#isInteger ? integerKey(row, this.#plan) : undefined
    if (integer === undefined) {
      const key = rowKey(row, this.#plan.keyPositions)
      if (this.#keys.has(key)) return
      this.#keys.add(key)
      this.#newRows.push(row)
    } else {
      const added = this.#integers.add(integer)
      if (added === 'known') return
      if (added === 'key') this.#newIntegers.push(integer)
      else this.#newBlocks.push(Math.floor(integer / BLOCK))
    }
    const fresh = this.#newIntegers.length + this.#newRows.length + this.#newBlocks.length
    if (this.#count + fresh > this.#most) this.markWhole()
  }

  #taken(): void {
    this.#newIntegers = []
    this.#newRows = []
    this.#newBlocks = []
  }

  #forget(): void {
    this.#keys.clear()
    this.#integers.clear()
  }
}
