import type { Lsn } from '../../lsn.ts'
import { id } from '../../sql.ts'
import { UNCHANGED, type Tuple, type Value } from '../pgoutput-message.ts'
import type { PlanColumn, TablePlan } from './table-plan.ts'
import { varcharArray } from './varchar-array.ts'

/** A statement for the target, and what is known of it when its result comes or it fails. */
export interface Statement {
  sql: string
  params: (Buffer | string | null)[]
  plan?: TablePlan
  /** schema: of no plan, it changes a definition or what is known of one. */
  kind: 'insert' | 'update' | 'delete' | 'truncate' | 'schema'
  /** Rows that it has to touch. */
  expected: number
  /** Of a statement for one row: its key or values, for error messages. */
  row?: string
  /** Commit of the source transaction that it belongs to, or the last of them. */
  lsn?: Lsn
}

/** Inserts rows, with the values of identity columns as they are. */
export function insertRows(plan: TablePlan, rows: readonly Tuple[]): Statement {
  const { columns } = plan
  const names = columns.map(({ name }) => id(name)).join(', ')
  // Of a table without columns that are carried, only the number of rows counts.
  const sql =
    columns.length === 0
      ? `insert into ${id(plan.schema, plan.table)} select from generate_series(1, ${rows.length})`
      : `insert into ${id(plan.schema, plan.table)} (${names}) overriding system value
         select ${columns.map(({ type }, i) => `v.c${i}::${type}`).join(', ')} from ${unnest(columns.length)}`
  return {
    sql,
    params: columns.map(({ position }) => varcharArray(rows.map((row) => row[position]!))),
    plan,
    kind: 'insert',
    expected: rows.length,
    ...(rows.length === 1 ? { row: describeRow(plan, rows[0]!) } : {}),
  }
}

/** A row to write over another one, found by its key before the change. */
export interface KeyedUpdate {
  key: readonly Value[]
  row: Tuple
}

/** Updates rows by key. The TOAST values that the source did not send are the same columns in all of them. */
export function updateRows(plan: TablePlan, updates: readonly KeyedUpdate[]): Statement {
  const key = plan.key!
  const changesKey = updates.some(({ key: old, row }) => key.some(({ position }, i) => row[position] !== old[i]))
  const set = plan.columns.filter(
    (column) =>
      updates[0]!.row[column.position] !== UNCHANGED && (changesKey || !key.some(({ name }) => name === column.name)),
  )
  // All columns are key columns and none has changed: there is nothing to write, but the row has to be there.
  const assignments =
    set.length === 0
      ? `${id(key[0]!.name)} = t.${id(key[0]!.name)}`
      : set.map(({ name, type }, i) => `${id(name)} = v.c${i}::${type}`).join(', ')
  const offset = set.length
  return {
    sql: `update only ${id(plan.schema, plan.table)} as t set ${assignments}
            from ${unnest(offset + key.length)} where ${keyMatch(plan, offset)}`,
    params: [
      ...set.map(({ position }) => varcharArray(updates.map(({ row }) => row[position]!))),
      ...key.map((_, i) => varcharArray(updates.map(({ key: values }) => values[i]!))),
    ],
    plan,
    kind: 'update',
    expected: updates.length,
    ...(updates.length === 1 ? { row: describeKey(plan, updates[0]!.key) } : {}),
  }
}

export function deleteRows(plan: TablePlan, keys: readonly (readonly Value[])[]): Statement {
  return {
    sql: `delete from only ${id(plan.schema, plan.table)} as t using ${unnest(plan.key!.length)} where ${keyMatch(plan, 0)}`,
    params: plan.key!.map((_, i) => varcharArray(keys.map((key) => key[i]!))),
    plan,
    kind: 'delete',
    expected: keys.length,
    ...(keys.length === 1 ? { row: describeKey(plan, keys[0]!) } : {}),
  }
}

/** Updates one row that looks like the old one in every column; of several that do, any one is right. */
export function updateAlike(plan: TablePlan, old: Tuple, row: Tuple): Statement {
  const set = plan.columns.filter(({ position }) => row[position] !== UNCHANGED)
  const params = set.map(({ position }) => parameter(row[position]!))
  const match = alike(plan, old, params)
  const assignments =
    set.length === 0
      ? `${id(plan.columns[0]!.name)} = t.${id(plan.columns[0]!.name)}`
      : set.map(({ name, type }, i) => `${id(name)} = $${i + 1}::varchar::${type}`).join(', ')
  return {
    sql: `update only ${id(plan.schema, plan.table)} as t set ${assignments} where ${match}`,
    params,
    plan,
    kind: 'update',
    expected: 1,
    row: describeRow(plan, old),
  }
}

/** Deletes one row that looks like the old one in every column. */
export function deleteAlike(plan: TablePlan, old: Tuple): Statement {
  const params: (Buffer | string | null)[] = []
  const match = alike(plan, old, params)
  return {
    sql: `delete from only ${id(plan.schema, plan.table)} as t where ${match}`,
    params,
    plan,
    kind: 'delete',
    expected: 1,
    row: describeRow(plan, old),
  }
}

/**
 * Empties tables in one statement. Of a TRUNCATE … CASCADE the source names every table that it has emptied,
 * so there is nothing to cascade to.
 */
export function truncateTables(plans: readonly TablePlan[], restartIdentity: boolean): Statement {
  const tables = plans.map(({ schema, table }) => `only ${id(schema, table)}`).join(', ')
  return {
    sql: `truncate table ${tables} ${restartIdentity ? 'restart identity' : 'continue identity'}`,
    params: [],
    ...(plans.length === 1 ? { plan: plans[0]! } : {}),
    kind: 'truncate',
    expected: 0,
  }
}

/** Arrays side by side as the table v with the columns c0, c1, … */
function unnest(columns: number): string {
  const numbers = Array.from({ length: columns }, (_, i) => i)
  return `unnest(${numbers.map((i) => `$${i + 1}::varchar[]`).join(', ')}) as v (${numbers.map((i) => `c${i}`).join(', ')})`
}

function keyMatch(plan: TablePlan, offset: number): string {
  return plan
    .key!.map(({ name, type, operator }, i) => `t.${id(name)} ${operator} v.c${offset + i}::${type}`)
    .join(' and ')
}

/** NULL is alike to NULL. Types that have no `=`, or one that is true for different values, are compared by their text. */
function alike(plan: TablePlan, old: Tuple, params: (Buffer | string | null)[]): string {
  const conditions = plan.columns.map((column) => {
    const value = old[column.position]!
    if (value === null) return `${id(column.name)} is null`
    params.push(parameter(value))
    return sameValue(column, params.length)
  })
  return `t.ctid = (select ctid from only ${id(plan.schema, plan.table)} where ${conditions.join(' and ') || 'true'} limit 1)`
}

function sameValue({ name, type, imageEqual }: PlanColumn, parameterNumber: number): string {
  return imageEqual
    ? `${id(name)} = $${parameterNumber}::varchar::${type}`
    : // Through format, which takes the type's own output function as the source does; a cast to text may differ (inet).
      `format('%s', ${id(name)}) = $${parameterNumber}::varchar collate "C"`
}

/** node-postgres sends bytes in binary format, which for varchar is its text. */
function parameter(value: Value): Buffer | string | null {
  if (value === UNCHANGED) throw new Error('A TOAST value that was not sent can not be written.')
  return value
}

function describeKey(plan: TablePlan, key: readonly Value[]): string {
  return plan.key!.map(({ name }, i) => `${name}=${show(key[i]!)}`).join(', ')
}

/** Only the key: other values are nobody's business in an error message. */
function describeRow(plan: TablePlan, row: Tuple): string {
  return plan.key
    ? describeKey(
        plan,
        plan.key.map(({ position }) => row[position]!),
      )
    : 'a row of a table without key'
}

function show(value: Value): string {
  return typeof value === 'string' ? value.slice(0, 100) : value === null ? 'null' : '…'
}
