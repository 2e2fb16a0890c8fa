import { MigrationError } from '../../errors.ts'
import type { Lsn } from '../../lsn.ts'
import type { Relation, Tuple, Value } from '../pgoutput-message.ts'
import type { TargetTable } from './target-table.ts'

export interface PlanColumn {
  name: string
  type: string
  imageEqual: boolean
  /** Where the value stands in a tuple of the source. */
  position: number
}

export interface KeyColumn extends PlanColumn {
  operator: string
}

/**
 * What of the order of a table's changes is kept: only the last state of each row; the order, with inserts that
 * follow each other in one statement; or the order, each row by itself. One follows when the target has refused
 * the one before.
 */
export type ApplyOrder = 'lastStates' | 'inOrder' | 'rowByRow'

/** How the changes of one table are written: the source's relation matched with the target's catalog, by names. */
export interface TablePlan {
  schema: string
  table: string
  /** P(t): changes of transactions that commit at or after it are applied. */
  point: Lsn
  columns: PlanColumn[]
  /** What finds a row; undefined when rows can only be found by all their values, or not at all. */
  key: KeyColumn[] | undefined
  /** The old row of UPDATE and DELETE comes whole. */
  full: boolean
  order: ApplyOrder
  /** Constraints that are checked at the end of the target transaction, as SQL names. */
  deferrable: readonly string[]
  /** Names, types and identity as the source described them, to notice when they change. */
  signature: string
}

/** What a relation says that matters to a plan: it is sent again also when nothing has changed. */
export function relationSignature(relation: Relation): string {
  return JSON.stringify([
    relation.schema,
    relation.name,
    relation.replicaIdentity,
    relation.columns.map(({ name, key, typeOid }) => [name, key, typeOid]),
  ])
}

/** @throws {MigrationError} SchemaChanged when the target lacks a column that the source sends */
export function planTable(relation: Relation, target: TargetTable, point: Lsn, order: ApplyOrder): TablePlan {
  const table = `${relation.schema}.${relation.name}`
  const targetColumns = new Map(target.columns.map((column) => [column.name, column]))
  const columns = relation.columns.flatMap(({ name }, position): PlanColumn[] => {
    const column = targetColumns.get(name)
    if (!column) {
      throw new MigrationError('SchemaChanged', `Column "${name}" of ${table} does not exist on the target.`, {
        hint: `Make the same change there as on the source (alter table ${table} add column …); replication goes on from where it is.`,
        target: 'target',
      })
    }
    return column.generated ? [] : [{ name, type: column.type, imageEqual: column.imageEqual, position }]
  })
  const full = relation.replicaIdentity === 'f'
  return {
    schema: relation.schema,
    table: relation.name,
    point,
    columns,
    key: keyOf(relation, target, columns),
    full,
    order,
    deferrable: target.deferrable,
    signature: relationSignature(relation),
  }
}

/**
 * With REPLICA IDENTITY FULL every column carries the key flag, so the target's primary key serves, if there
 * is one. Else it is the flagged columns.
 */
function keyOf(relation: Relation, target: TargetTable, columns: PlanColumn[]): KeyColumn[] | undefined {
  const byName = new Map(columns.map((column) => [column.name, column]))
  if (relation.replicaIdentity === 'f') {
    const primary = target.uniqueIndexes.find((index) => index.primary)
    const key = primary?.columns.map(({ name, operator }) => ({ ...byName.get(name), operator }))
    return key?.every((column): column is KeyColumn => column.position !== undefined) ? key : undefined
  }
  const flagged = relation.columns.flatMap(({ name, key }) => (key ? (byName.get(name) ?? []) : []))
  if (flagged.length === 0) return undefined
  const index = target.uniqueIndexes.find(
    ({ columns: indexed }) =>
      indexed.length === flagged.length && flagged.every(({ name }) => indexed.some((column) => column.name === name)),
  )
  const operators = new Map(index?.columns.map(({ name, operator }) => [name, operator]))
  return flagged.map((column) => ({ ...column, operator: operators.get(column.name) ?? 'operator(pg_catalog.=)' }))
}

/** The key values of a row. */
export function keyValues(key: readonly KeyColumn[], row: Tuple): Value[] {
  return key.map(({ position }) => row[position]!)
}

/** One text for the values of a key, different for different values: text of PostgreSQL holds no zero byte. */
export function keyText(values: readonly Value[]): string {
  const [first] = values
  if (values.length === 1 && typeof first === 'string') return first
  return values
    .map((value) =>
      typeof value === 'string' ? value : Buffer.isBuffer(value) ? `\0${value.toString('latin1')}` : '\0',
    )
    .join('\0')
}
