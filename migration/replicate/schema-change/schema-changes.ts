import type { Connection } from '../../connect.ts'
import type { TableName } from '../../load/tables.ts'
import type { Statement } from '../apply/statements.ts'
import { StatementRefused, type TargetTransaction } from '../apply/target-transaction.ts'
import type { Relation } from '../pgoutput-message.ts'
import { decideChange } from './decide-change.ts'
import { changeFailed, changeRefused } from './refused-change.ts'
import { describeStep, stepStatements } from './schema-step.ts'
import { shapeDigest } from './shape-digest.ts'
import { SourceDigests } from './source-digests.ts'
import { formatTypes, readSourceDefinitions, type SourceDefinition } from './source-definition.ts'
import { readTargetDefinition } from './target-definition.ts'
import { readShapes, saveShape, type TableShape } from './table-shape.ts'

export interface SchemaChangesOptions {
  /** For reading the source's catalog. */
  source: Connection
  /** For reading the target's catalog as it is committed. */
  catalog: Connection
  /** The session of the transaction that applies: while that has altered tables, only it sees them. */
  session: Connection
  transaction: Pick<TargetTransaction, 'alter' | 'altered'>
  /** A change was carried over; in words. */
  onCarried(table: TableName, steps: string[]): void
}

/** A change of a table's definition, ready for the transaction that applies. */
export interface SchemaChange {
  table: TableName
  statements: Statement[]
  /** In words; empty when only what is known of the source has changed. */
  steps: string[]
  /** The error to throw when the target refuses a statement. */
  refused: (cause: unknown) => Error
}

/** Notices changes of definitions, once for each description that the stream sends, and brings them over. */
export class SchemaChanges {
  readonly #options: SchemaChangesOptions
  /** As the target had them when the stream began, but for those that have changed since. */
  #shapes: Promise<Map<string, TableShape>> | undefined
  readonly #digests: SourceDigests

  constructor(options: SchemaChangesOptions) {
    this.#options = options
    this.#digests = new SourceDigests(options.source)
  }

  /** The transaction under way has altered tables. */
  get altered(): boolean {
    return this.#options.transaction.altered
  }

  /** Where the target's definitions are read; when they are altered, nothing may be under way in that session. */
  get catalog(): Connection {
    return this.altered ? this.#options.session : this.#options.catalog
  }

  /**
   * What has to be done on the target before rows of this description: usually nothing.
   *
   * @param xid the transaction that it was sent for
   * @param exact the catalog, when it is known to be of this very place
   * @returns dropped: nothing of the table is to be applied any more
   * @throws {MigrationError} SchemaChanged
   */
  async find(
    relation: Relation,
    xid: number | undefined,
    exact?: SourceDefinition,
  ): Promise<SchemaChange | 'dropped' | undefined> {
    const { source } = this.#options
    const table = { schema: relation.schema, name: relation.name }
    if (!exact && (await this.#isAsBefore(relation, xid))) return undefined
    const [target, definition, types] = await Promise.all([
      readTargetDefinition(this.catalog, table.schema, table.name),
      exact ?? readSourceDefinitions(source, [relation.oid]).then((found) => found.get(relation.oid)),
      formatTypes(source, relation.columns),
    ])
    if (!target) return undefined
    const decision = decideChange({ relation, types, target, source: definition, xid })
    if (decision.kind === 'dropped') return 'dropped'
    const sent = relation.columns.map(({ name }, i) => ({ name, type: types[i]! }))
    if (decision.kind === 'refused') throw changeRefused(table, sent, target, decision)
    if (!decision.shape) return undefined
    const steps = decision.kind === 'steps' ? decision.steps : []
    // Parents and children may change with it.
    if (steps.length > 0) this.#shapes = Promise.resolve(new Map())
    else (await this.#shapes)?.delete(JSON.stringify([table.schema, table.name]))
    return {
      table,
      statements: [...stepStatements(table, target, steps), saveShape(table.schema, table.name, decision.shape)],
      steps: steps.map(describeStep),
      refused: (cause) => changeFailed(table, sent, target, cause),
    }
  }

  /**
   * The usual case, at little cost: the description, the catalog and the target's table are all of one shape. The
   * catalog has to be asked also where the description is the same: a column may have been dropped and made again.
   */
  async #isAsBefore({ oid, schema, name, columns }: Relation, xid: number | undefined): Promise<boolean> {
    this.#shapes ??= readShapes(this.#options.catalog).then(
      (shapes) => new Map(shapes.map((table) => [JSON.stringify([table.schema, table.name]), table.shape])),
    )
    const shapes = await this.#shapes
    const shape = shapes.get(JSON.stringify([schema, name]))
    if (shape?.tableOid !== oid || shape.columns.length !== columns.length) return false
    const alike = shape.columns.every((column, i) => {
      const sent = columns[i]!
      const { typeOid, typeModifier } = column
      return column.name === sent.name && typeOid === sent.typeOid && typeModifier === sent.typeModifier
    })
    if (!alike) return false
    const tables = (): number[] => [...shapes.values()].map(({ tableOid }) => tableOid)
    return (await this.#digests.read(oid, xid, tables)) === shapeDigest(shape)
  }

  /**
   * Makes a change in the open transaction on the target, which everything before it has been written to.
   *
   * @throws {MigrationError} SchemaChanged: the transaction is rolled back
   */
  async alter({ table, statements, steps, refused }: SchemaChange): Promise<void> {
    try {
      await this.#options.transaction.alter(statements)
    } catch (error) {
      throw error instanceof StatementRefused ? refused(error.cause) : error
    }
    this.#options.onCarried(table, steps)
  }
}
