import type { Connection } from '../../connect.ts'
import { MigrationError } from '../../errors.ts'
import type { TableName } from '../../load/tables.ts'
import { parseLsn, type Lsn } from '../../lsn.ts'
import type { Statement } from '../apply/statements.ts'
import { StatementRefused, type TargetTransaction } from '../apply/target-transaction.ts'
import type { Relation } from '../pgoutput-message.ts'
import { compareParents, nameOf, parentRefused, readParents } from './parents.ts'
import { changeFailed } from './refused-change.ts'
import type { SchemaChange, SchemaChanges } from './schema-changes.ts'
import { describeStep, stepStatements } from './schema-step.ts'
import { settleColumns } from './settle-columns.ts'
import { readDigests, shapeDigest } from './shape-digest.ts'
import { readSourceDefinitions, type SourceDefinition } from './source-definition.ts'
import { readTargetDefinition } from './target-definition.ts'
import { readShapes, saveShape, shapeOf, type TableShape } from './table-shape.ts'

export interface UnshownChangesOptions {
  source: Connection
  catalog: Connection
  transaction: Pick<TargetTransaction, 'alterAlone'>
  changes: SchemaChanges
  onCarried(table: TableName, steps: string[]): void
  /** A change that can't be carried over, although nothing waits for it yet: it may throw. */
  onRefused: (error: MigrationError) => void
}

/** A table whose catalog entry is not what the target's table stands for. */
interface Differing extends TableName {
  shape: TableShape
  digest: string
}

interface Look {
  lsn: Lsn
  differing: Differing[]
  /** Tables of the migration, by {@link nameOf}. */
  followed: ReadonlySet<string>
}

/**
 * Brings over what no row has shown: a change of a table's definition is in the stream with the next row of that
 * table only, and defaults, NOT NULL and generated columns are never. When the target has all that was committed
 * before the catalog was read, then the catalog is that of this place. All changes of rows in an older shape are
 * applied by then: the DDL has waited for their commits.
 */
export class UnshownChanges {
  readonly #options: UnshownChangesOptions
  /** The LSN is after the commit of whatever this look at the catalog has seen. */
  #look: Look | undefined

  constructor(options: UnshownChangesOptions) {
    this.#options = options
  }

  /**
   * Call it when nothing is half read or under way.
   *
   * @param position everything before it is on the target
   * @returns false when the target is not yet where the catalog is: call it again
   * @throws {MigrationError} SchemaChanged
   */
  async bring(position: Lsn): Promise<boolean> {
    const { source, catalog } = this.#options
    const { lsn, differing, followed } = (this.#look ??= await lookAround(source, catalog))
    if (differing.length > 0 && position < lsn) return false
    this.#look = undefined
    if (differing.length > 0) await this.#bringTables(differing)
    await this.#bringParents(followed)
    return true
  }

  async #bringTables(differing: readonly Differing[]): Promise<void> {
    const { source } = this.#options
    const oids = differing.map(({ shape }) => shape.tableOid)
    const definitions = await readSourceDefinitions(source, oids, { expressions: true })
    for (const table of differing) {
      const definition = definitions.get(table.shape.tableOid)
      // Altered again between the two looks: at which of the two the target is, is not known.
      if (!definition || definition.name !== table.name || shapeDigest(shapeOf(definition)) !== table.digest) continue
      await this.#orTell(this.#bringTable(table, definition))
    }
  }

  async #bringParents(followed: ReadonlySet<string>): Promise<void> {
    const { source, catalog } = this.#options
    const found = await findParentChanges(source, catalog, followed)
    if (found.length === 0) return
    const shapes = new Map((await readShapes(catalog)).map((table) => [nameOf(table), table.shape]))
    for (const change of found) {
      const { table, sql, step, attached } = change
      const statements: Statement[] = [{ sql, params: [], kind: 'schema', expected: 0 }]
      const shape = attached ? shapes.get(nameOf(table)) : undefined
      // Foreign keys of the whole table are planned for each of its partitions.
      if (shape) statements.push(saveShape(table.schema, table.name, { ...shape, replan: true }))
      await this.#orTell(
        this.#alter({ table, statements, steps: [step], refused: (cause) => parentRefused(change, cause) }),
      )
    }
  }

  async #orTell(work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      if (!(error instanceof MigrationError) || error.code !== 'SchemaChanged') throw error
      this.#options.onRefused(error)
    }
  }

  async #bringTable({ schema, name }: TableName, definition: SourceDefinition): Promise<void> {
    const { changes, catalog } = this.#options
    const columns = definition.attributes
      .filter(({ dropped, generated }) => !dropped && generated === '')
      .map((attribute) => ({ ...attribute, key: false }))
    const relation: Relation = { oid: definition.oid, schema, name, replicaIdentity: 'd', columns }
    const change = await changes.find(relation, undefined, definition)
    if (change === 'dropped') return
    if (change) await this.#alter(change)
    const target = await readTargetDefinition(catalog, schema, name)
    if (!target?.shape) return
    const { steps, shape } = settleColumns(target, definition, target.shape)
    if (steps.length === 0 && JSON.stringify(shape) === JSON.stringify(target.shape)) return
    await this.#alter({
      table: { schema, name },
      statements: [...stepStatements({ schema, name }, target, steps), saveShape(schema, name, shape)],
      steps: steps.map(describeStep),
      refused: (cause) => changeFailed({ schema, name }, columns, target, cause),
    })
  }

  async #alter({ table, statements, steps, refused }: SchemaChange): Promise<void> {
    try {
      await this.#options.transaction.alterAlone(statements)
    } catch (error) {
      throw error instanceof StatementRefused ? refused(error.cause) : error
    }
    if (steps.length > 0) this.#options.onCarried(table, steps)
  }
}

/** Whether a table of the migration is defined otherwise than the target's stands for, or may be. */
export async function hasUnshownChanges(source: Connection, catalog: Connection): Promise<boolean> {
  const { differing, followed } = await lookAround(source, catalog)
  return differing.length > 0 || (await findParentChanges(source, catalog, followed)).length > 0
}

async function lookAround(source: Connection, catalog: Connection): Promise<Look> {
  const shapes = await readShapes(catalog)
  const digests = await readDigests(
    source,
    shapes.map(({ shape }) => shape.tableOid),
  )
  const { rows: after } = await source.query<{ lsn: string }>(
    `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end as lsn`,
  )
  const differing = shapes.flatMap((table): Differing[] => {
    const now = digests.get(table.shape.tableOid)
    // Defaults may change at any time, and are in no digest.
    const unsettled = table.shape.columns.some(({ carried }) => carried)
    return now !== undefined && (unsettled || now !== shapeDigest(table.shape)) ? [{ ...table, digest: now }] : []
  })
  return { lsn: parseLsn(after[0]!.lsn), differing, followed: new Set(shapes.map(nameOf)) }
}

async function findParentChanges(
  source: Connection,
  catalog: Connection,
  followed: ReadonlySet<string>,
): Promise<ReturnType<typeof compareParents>> {
  const { rows } = await catalog.query<TableName>(
    `select n.nspname as schema, c.relname as name
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and n.nspname !~ '^pg_'`,
  )
  const [ours, theirs] = await Promise.all([readParents(source), readParents(catalog)])
  return compareParents(ours, theirs, new Set(rows.map(nameOf)), followed)
}
