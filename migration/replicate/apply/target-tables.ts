import type { Connection } from '../../connect.ts'
import { MigrationError } from '../../errors.ts'
import type { Lsn } from '../../lsn.ts'
import { protocolViolation } from '../byte-reader.ts'
import type { Relation } from '../pgoutput-message.ts'
import type { SchemaChange, SchemaChanges } from '../schema-change/schema-changes.ts'
import type { TablePoints } from '../table-points.ts'
import { planTable, relationSignature, type ApplyOrder, type TablePlan } from './table-plan.ts'
import { readAhead } from '../read-ahead.ts'
import { readTargetTables, tableKey, type TargetTable } from './target-table.ts'

export interface TargetTablesOptions {
  /** For reading the catalog; not the session that applies. */
  catalog: Connection
  points: TablePoints
  /** By `schema.table`, where it is not the usual one. */
  orders: ReadonlyMap<string, ApplyOrder>
  /** Values come in their binary form. */
  binary?: boolean
  /** Looks whether the definition of a table has changed, at its first change after each description. */
  changes?: SchemaChanges
}

/** Tables that are read together: some 0.1 s of the target's work. */
const MOST_AHEAD = 500

/** The plans of the tables of a stream, made when the first change of each arrives. */
export class TargetTables {
  readonly #options: TargetTablesOptions
  readonly #relations = new Map<number, Relation>()
  readonly #plans = new Map<number, TablePlan>()
  /** Described again and not looked at since. */
  readonly #unchecked = new Map<number, TablePlan>()
  readonly #dropped = new Set<number>()
  /** Definitions on their way, while it is looked whether they are to change. */
  readonly #reading = new Map<number, Promise<TargetTable | undefined>>()
  /** Read together with others: each is taken once, and none is kept when something is altered. */
  readonly #ahead = new Map<string, Promise<TargetTable | undefined>>()
  /** Have been read, or are in {@link #ahead}. */
  readonly #read = new Set<string>()
  readonly #choose = readAhead(MOST_AHEAD)

  constructor(options: TargetTablesOptions) {
    this.#options = options
  }

  /** A description of a table from the source. @returns the plan that it makes obsolete */
  describe(relation: Relation): TablePlan | undefined {
    const { oid } = relation
    this.#relations.set(oid, relation)
    const plan = this.#plans.get(oid) ?? this.#unchecked.get(oid)
    this.#plans.delete(oid)
    this.#unchecked.delete(oid)
    if (!plan || plan.signature !== relationSignature(relation)) return plan
    // Alike, and perhaps not the same: a column can be dropped and made again.
    if (this.#options.changes) this.#unchecked.set(oid, plan)
    else this.#plans.set(oid, plan)
    return undefined
  }

  relation(oid: number): Relation {
    const relation = this.#relations.get(oid)
    if (!relation) throw protocolViolation(`a change of the unknown relation ${oid}`)
    return relation
  }

  /** P(t), or undefined when it is no table of this migration. */
  point(oid: number): Lsn | undefined {
    const { schema, name } = this.relation(oid)
    return this.#options.points.get(schema, name)
  }

  known(oid: number): TablePlan | undefined {
    return this.#plans.get(oid)
  }

  /** The source has dropped it since, and its rows can't be applied any more. */
  isDropped(oid: number): boolean {
    return this.#dropped.has(oid)
  }

  /** The transaction under way has altered tables: their definitions can be read when all of it has been written. */
  get altered(): boolean {
    return this.#options.changes?.altered ?? false
  }

  /**
   * What has to be done on the target before the next row of a table: usually nothing.
   *
   * @throws {MigrationError} SchemaChanged
   */
  async change(oid: number, xid: number): Promise<SchemaChange | undefined> {
    const { changes } = this.#options
    if (!changes) return undefined
    if (!this.#unchecked.has(oid)) {
      const reading = this.#readTable(oid)
      // Its failure is that of plan(), if it comes to that.
      reading.catch(() => {})
      this.#reading.set(oid, reading)
    }
    const change = await changes.find(this.relation(oid), xid)
    if (change !== 'dropped') return change
    this.#dropped.add(oid)
    return undefined
  }

  /** @throws {MigrationError} SchemaChanged */
  async alter(change: SchemaChange): Promise<void> {
    // A parent brings its change to its children.
    this.#unchecked.clear()
    this.#reading.clear()
    for (const key of this.#ahead.keys()) this.#read.delete(key)
    this.#ahead.clear()
    await this.#options.changes!.alter(change)
  }

  /** @throws {MigrationError} TableMissing, SchemaChanged; TextRequired */
  async plan(oid: number, point: Lsn): Promise<TablePlan> {
    const unchecked = this.#unchecked.get(oid)
    this.#unchecked.delete(oid)
    if (unchecked) {
      this.#plans.set(oid, unchecked)
      return unchecked
    }
    const { schema, name } = this.relation(oid)
    const reading = this.#reading.get(oid)
    this.#reading.delete(oid)
    const table = await (reading ?? this.#readTable(oid))
    if (!table) {
      throw new MigrationError('TableMissing', `Table ${schema}.${name} was copied, and is no longer on the target.`, {
        hint: 'Nothing else may change the target while it follows the source. Start the migration again.',
        target: 'target',
      })
    }
    const order = this.#options.orders.get(`${schema}.${name}`) ?? 'lastStates'
    const plan = planTable(this.relation(oid), table, point, order, this.#options.binary)
    this.#plans.set(oid, plan)
    return plan
  }

  /** Nobody else alters the target's tables: what is read ahead is what would be read when the first change comes. */
  #readTable(oid: number): Promise<TargetTable | undefined> {
    const { schema, name } = this.relation(oid)
    const key = tableKey({ schema, name })
    const ahead = this.#ahead.get(key)
    this.#ahead.delete(key)
    if (ahead) return ahead
    const { points, catalog, changes } = this.#options
    this.#read.add(key)
    // Tables that the transaction under way has altered are seen by its own session only.
    const others = this.altered ? [] : this.#choose(points.tables().filter((table) => !this.#read.has(tableKey(table))))
    const found = readTargetTables(changes?.catalog ?? catalog, [{ schema, name }, ...others])
    for (const table of others) {
      const other = tableKey(table)
      const one = found.then((tables) => tables.get(other))
      // Its failure is that of the one that is waited for.
      one.catch(() => {})
      this.#read.add(other)
      this.#ahead.set(other, one)
    }
    return found.then((tables) => tables.get(key))
  }
}
