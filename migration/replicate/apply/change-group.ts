import type { Lsn } from '../../lsn.ts'
import type { DeleteMessage, InsertMessage, UpdateMessage } from '../pgoutput-message.ts'
import { noChanges } from './change-counts.ts'
import { truncateTables, type Statement } from './statements.ts'
import { TableChanges } from './table-changes.ts'
import type { TablePlan } from './table-plan.ts'

/**
 * Changes that become one target transaction, or a part of one. Tables do not depend on each other (there are
 * no foreign keys and triggers before cutover), so that each has its own order.
 */
export class ChangeGroup {
  counts = noChanges()
  rows = 0
  bytes = 0
  /** Commit time on the source of its first transaction, ms. */
  oldestCommit: number | undefined
  /** End of its last finished transaction. */
  endLsn: Lsn | undefined
  /** Where the source had sent to, at or after endLsn, with nothing more to apply. */
  tailLsn: Lsn | undefined
  #statements: Statement[] = []
  readonly #tables = new Map<TablePlan, TableChanges>()

  get isEmpty(): boolean {
    return this.rows === 0
  }

  insert(plan: TablePlan, message: InsertMessage, lsn: Lsn): void {
    this.#add(this.#changes(plan).insert(message.row), message.bytes, lsn)
    this.counts.inserts++
  }

  update(plan: TablePlan, message: UpdateMessage, lsn: Lsn): void {
    this.#add(this.#changes(plan).update(message), message.bytes, lsn)
    this.counts.updates++
  }

  delete(plan: TablePlan, message: DeleteMessage, lsn: Lsn): void {
    this.#add(this.#changes(plan).delete(message), message.bytes, lsn)
    this.counts.deletes++
  }

  truncate(plans: readonly TablePlan[], restartIdentity: boolean, lsn: Lsn): void {
    for (const plan of plans) this.cut(plan)
    this.#add(truncateTables(plans, restartIdentity), 0, lsn)
    this.counts.truncates += plans.length
  }

  /** Adds statements that are no changes of rows. */
  add(statements: readonly Statement[]): void {
    this.#statements.push(...statements)
  }

  /** Ends what has been collected for a table: what comes later comes after it. */
  cut(plan: TablePlan): void {
    const changes = this.#tables.get(plan)
    if (changes) this.#statements.push(...changes.take())
    this.#tables.delete(plan)
  }

  /** All statements, in an order that keeps that of each table. */
  take(): Statement[] {
    for (const plan of this.#tables.keys()) this.cut(plan)
    return this.#statements
  }

  #changes(plan: TablePlan): TableChanges {
    let changes = this.#tables.get(plan)
    if (!changes) this.#tables.set(plan, (changes = new TableChanges(plan)))
    return changes
  }

  #add(statements: Statement[], bytes: number, lsn: Lsn): void {
    for (const statement of statements) this.#statements.push({ ...statement, lsn })
    this.rows++
    this.bytes += bytes
  }
}
