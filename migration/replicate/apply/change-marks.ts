import type { RowMessage } from '../pgoutput-message.ts'
import type { Statement } from './statements.ts'
import { TableMarks, type MarkedTable } from './table-marks.ts'
import type { TablePlan } from './table-plan.ts'

/**
 * Marks what the stream changes in the tables that are compared while they are followed, or were: the cutover compares
 * again what is marked, and nothing else of them.
 *
 * Why that is enough: take a row that has no mark at the cutover. Since the marking of its table began, no change of it
 * was applied, so it is on the target as it was; and since all changes up to the cutover have come through the stream,
 * the source has not changed it either, after the place where the target was at that time. It was compared after that
 * time, when neither side could show anything else of it than at the cutover.
 *
 * It holds for the life of one stream: with a stream that fails, what is remembered as marked may never have been
 * committed.
 */
export class ChangeMarks {
  readonly #tables = new Map<string, MarkedTable>()
  /** Null for plans of tables that are not marked. */
  readonly #plans = new Map<TablePlan, TableMarks | null>()
  /** With something to write. */
  #changed: TableMarks[] = []

  /** Marks what comes from now on in these tables. */
  add(tables: readonly MarkedTable[]): void {
    for (const table of tables) this.#tables.set(keyOf(table.schema, table.name), table)
    for (const [plan, marks] of this.#plans) {
      if (marks?.table !== this.#tables.get(keyOf(plan.schema, plan.table))) this.#plans.delete(plan)
    }
  }

  change(plan: TablePlan, message: RowMessage): void {
    if (this.#tables.size === 0) return
    const marks = this.#of(plan)
    if (!marks) return
    marks.change(message)
    this.#list(marks)
  }

  truncate(plans: readonly TablePlan[]): void {
    for (const plan of plans) {
      const marks = this.#of(plan)
      if (!marks) continue
      marks.markWhole()
      this.#list(marks)
    }
  }

  /** The statements for what has been marked since the last time. They belong into the transaction of the changes. */
  take(): Statement[] {
    if (this.#changed.length === 0) return []
    const changed = this.#changed
    this.#changed = []
    return changed.flatMap((marks) => {
      marks.isListed = false
      return marks.take()
    })
  }

  #list(marks: TableMarks): void {
    if (marks.isListed) return
    marks.isListed = true
    this.#changed.push(marks)
  }

  #of(plan: TablePlan): TableMarks | null {
    const known = this.#plans.get(plan)
    if (known !== undefined) return known
    const table = this.#tables.get(keyOf(plan.schema, plan.table))
    const marks = table ? new TableMarks(table, plan) : null
    this.#plans.set(plan, marks)
    return marks
  }
}

function keyOf(schema: string, name: string): string {
  return `${schema}\0${name}`
}
