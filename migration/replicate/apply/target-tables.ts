import type { Connection } from '../../connect.ts'
import { MigrationError } from '../../errors.ts'
import type { Lsn } from '../../lsn.ts'
import { protocolViolation } from '../byte-reader.ts'
import type { Relation } from '../pgoutput-message.ts'
import type { TablePoints } from '../table-points.ts'
import { planTable, relationSignature, type ApplyOrder, type TablePlan } from './table-plan.ts'
import { readTargetTable } from './target-table.ts'

export interface TargetTablesOptions {
  /** For reading the catalog; not the session that applies. */
  catalog: Connection
  points: TablePoints
  /** By `schema.table`, where it is not the usual one. */
  orders: ReadonlyMap<string, ApplyOrder>
  /** Values come in their binary form. */
  binary?: boolean
}

/** The plans of the tables of a stream, made when the first change of each arrives. */
export class TargetTables {
  readonly #options: TargetTablesOptions
  readonly #relations = new Map<number, Relation>()
  readonly #plans = new Map<number, TablePlan>()

  constructor(options: TargetTablesOptions) {
    this.#options = options
  }

  /** A description of a table from the source. @returns the plan that it makes obsolete */
  describe(relation: Relation): TablePlan | undefined {
    this.#relations.set(relation.oid, relation)
    const plan = this.#plans.get(relation.oid)
    if (plan && plan.signature === relationSignature(relation)) return undefined
    this.#plans.delete(relation.oid)
    return plan
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

  /** @throws {MigrationError} TableMissing, SchemaChanged; TextRequired */
  async plan(oid: number, point: Lsn): Promise<TablePlan> {
    const { schema, name } = this.relation(oid)
    const table = await readTargetTable(this.#options.catalog, schema, name)
    if (!table) {
      throw new MigrationError('TableMissing', `Table ${schema}.${name} was copied, and is no longer on the target.`, {
        hint: 'Nothing else may change the target while it follows the source. Start the migration again.',
        target: 'target',
      })
    }
    const plan = planTable(
      this.relation(oid),
      table,
      point,
      this.#options.orders.get(`${schema}.${name}`) ?? 'lastStates',
      this.#options.binary,
    )
    this.#plans.set(oid, plan)
    return plan
  }
}
