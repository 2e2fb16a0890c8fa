import { MigrationError } from '../../errors.ts'
import type { Lsn } from '../../lsn.ts'
import { id } from '../../sql.ts'
import { protocolViolation } from '../byte-reader.ts'
import type { Relation } from '../pgoutput-message.ts'
import { TextRequired } from '../text-required.ts'
import type { Tuple } from '../tuple.ts'
import type { TargetTable } from './target-table.ts'

export interface PlanColumn {
  name: string
  type: string
  imageEqual: boolean
  /** The type in which its values are sent, and its object id: their own in binary, varchar for text. */
  sentAs: string
  sentAsOid: number
  /** Where the value stands in a tuple of the source. */
  position: number
}

export interface KeyColumn extends PlanColumn {
  /** Finds a row by it. */
  operator: string
}

/** The operator of a type of PostgreSQL itself. */
export const CATALOG_EQUALS = `operator(${id('pg_catalog')}.=)`

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
  /** Number of values in a row of the source. */
  width: number
  /** What finds a row; undefined when rows can only be found by all their values, or not at all. */
  key: KeyColumn[] | undefined
  /** Where the values of the key stand in a row. */
  keyPositions: number[]
  /** Values come in their binary form. */
  binary: boolean
  /** The old row of UPDATE and DELETE comes whole. */
  full: boolean
  order: ApplyOrder
  /** Constraints that are checked at the end of the target transaction, as SQL names. */
  deferrable: readonly string[]
  /** Names, types and identity as the source described them, to notice when they change. */
  signature: string
  /** SQL that has been made for the table, so that it is made once. */
  sql: Map<string, string>
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

/**
 * varchar and not text, because a user's own cast from text could take the place of a type's input function.
 * https://www.postgresql.org/docs/current/catalog-pg-type.html
 */
const VARCHAR_OID = 1043

/** @throws {MigrationError} ProtocolViolation when a row has another number of values than its table has columns */
export function expectWidth({ width }: TablePlan, { columns }: Tuple): void {
  if (columns !== width) throw protocolViolation(`a row of ${columns} values for ${width} columns`)
}

/**
 * @param binary values come in their binary form
 * @throws {MigrationError} SchemaChanged when the target lacks a column that the source sends
 * @throws {TextRequired} when a column is not of the same type on both sides, or not of one that is the same everywhere
 */
export function planTable(
  relation: Relation,
  target: TargetTable,
  point: Lsn,
  order: ApplyOrder,
  binary = false,
): TablePlan {
  const table = `${relation.schema}.${relation.name}`
  const targetColumns = new Map(target.columns.map((column) => [column.name, column]))
  const columns = relation.columns.flatMap(({ name, typeOid }, position): PlanColumn[] => {
    const column = targetColumns.get(name)
    if (!column) {
      throw new MigrationError('SchemaChanged', `Column "${name}" of ${table} does not exist on the target.`, {
        hint: `Make the same change there as on the source (alter table ${table} add column …); replication goes on from where it is.`,
        target: 'target',
      })
    }
    if (column.generated) return []
    const { type, imageEqual } = column
    if (!binary) return [{ name, type, imageEqual, position, sentAs: 'varchar', sentAsOid: VARCHAR_OID }]
    if (column.binaryOid !== typeOid) throw new TextRequired(`column "${name}" of ${table} needs text`)
    return [{ name, type, imageEqual, position, sentAs: type, sentAsOid: typeOid }]
  })
  const full = relation.replicaIdentity === 'f'
  const key = keyOf(relation, target, columns)
  return {
    schema: relation.schema,
    table: relation.name,
    point,
    columns,
    width: relation.columns.length,
    key,
    keyPositions: key?.map(({ position }) => position) ?? [],
    binary,
    full,
    order,
    deferrable: target.deferrable,
    signature: relationSignature(relation),
    sql: new Map(),
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
  return flagged.map((column) => ({ ...column, operator: operators.get(column.name) ?? CATALOG_EQUALS }))
}
