import type { Lsn } from '../../lsn.ts'
import { id } from '../../sql.ts'
import { UNCHANGED, tupleValue, tupleValues, type Tuple, type Value } from '../tuple.ts'
import { copyData, type CopiedValues } from './copy-data.ts'
import { showValue } from './show-value.ts'
import type { PlanColumn, TablePlan } from './table-plan.ts'
import { valueArrays, type ArrayColumn } from './value-array.ts'

/** A statement for the target, and what is known of it when its result comes or it fails. */
export interface Statement {
  sql: string
  params: (Buffer | string | null)[]
  /** What a COPY FROM STDIN reads, made piece by piece as it is sent. */
  copy?: Iterable<Buffer>
  plan?: TablePlan
  /** Of no plan: schema changes a definition or what is known of one, mark says what has been changed. */
  kind: 'insert' | 'update' | 'delete' | 'truncate' | 'schema' | 'mark'
  /** Rows that it has to touch. */
  expected: number
  /** Of a statement for one row: its key or values, for error messages. */
  row?: () => string
  /** Commit of the source transaction that it belongs to, or the last of them. */
  lsn?: Lsn
}

/** From here on COPY is cheaper than an INSERT that is prepared once, and has to be read anew each time. */
const COPY_ROWS = 8
/** Bytes of rows that are not sent as parameters, which are in memory several times. */
const PARAMETER_BYTES = 4 * 1024 * 1024

/** Inserts rows, with the values of identity columns as they are. */
export function insertRows(plan: TablePlan, rows: readonly Tuple[]): Statement {
  const { columns } = plan
  const statement = {
    plan,
    kind: 'insert',
    expected: rows.length,
    ...(rows.length === 1 ? { row: () => describeRow(plan, rows[0]!) } : {}),
  } as const
  if (columns.length === 0) {
    // Of a table without columns that are carried, only the number of rows counts.
    const sql = `insert into ${id(plan.schema, plan.table)} select from generate_series(1, ${rows.length})`
    return { ...statement, sql, params: [] }
  }
  const positions = columns.map(({ position }) => position)
  if (rows.length >= COPY_ROWS || areLarge(rows)) {
    return {
      ...statement,
      sql: memo(plan, 'copy', copySql),
      params: [],
      copy: copyData(plan.binary, { rows, positions }),
    }
  }
  return { ...statement, sql: memo(plan, 'insert', insertSql), params: arraysOf(rows, columns) }
}

function insertSql({ schema, table, columns }: TablePlan): string {
  return `insert into ${id(schema, table)} (${columnList(columns)}) overriding system value
          select ${columns.map(({ type }, i) => `v.c${i}::${type}`).join(', ')} from ${unnest(columns)}`
}

/** COPY gives identity columns the values that it reads: https://www.postgresql.org/docs/current/sql-copy.html */
function copySql({ schema, table, columns, binary }: TablePlan): string {
  return `copy ${id(schema, table)} (${columnList(columns)}) from stdin${binary ? ' (format binary)' : ''}`
}

/** A row to write over another one, found by the key in another row. */
export interface KeyedUpdate {
  /** A row with the key before the change. */
  key: Tuple
  row: Tuple
}

/**
 * Updates rows by key. The TOAST values that the source did not send are the same columns in all of them.
 *
 * @param moves the update gives its row another key
 */
export function updateRows(plan: TablePlan, updates: readonly KeyedUpdate[], moves = false): Statement[] {
  const { keyPositions } = plan
  const first = updates[0]!.row
  const values = first.unchanged ? tupleValues(first) : undefined
  const set = plan.columns.filter(
    ({ position }) => values?.[position] !== UNCHANGED && (moves || !keyPositions.includes(position)),
  )
  const shape = `update ${set.map(({ position }) => position).join()}`
  const rows = updates.map(({ row }) => row)
  const keys = updates.map(({ key }) => key)
  const statement = {
    plan,
    kind: 'update',
    expected: updates.length,
    ...(updates.length === 1 ? { row: () => describeRow(plan, keys[0]!) } : {}),
  } as const
  const sent = [...set, ...plan.key!]
  if (areLarge(rows)) {
    return [
      ...stageValues(plan, sent, [
        { rows, positions: set.map(({ position }) => position) },
        { rows: keys, positions: keyPositions },
      ]),
      { ...statement, sql: updateSql(plan, set, STAGED), params: [] },
      { sql: `drop table ${STAGED}`, params: [], kind: 'update', expected: 0 },
    ]
  }
  return [
    {
      ...statement,
      sql: memo(plan, shape, () => updateSql(plan, set, unnest(sent))),
      params: [...arraysOf(rows, set), ...arraysOf(keys, plan.key!)],
    },
  ]
}

/** @param from has the new values and then the key, as the columns c0, c1, … of v */
function updateSql(plan: TablePlan, set: readonly PlanColumn[], from: string): string {
  const key = plan.key!
  // All columns are key columns and none has changed: there is nothing to write, but the row has to be there.
  const assignments =
    set.length === 0
      ? `${id(key[0]!.name)} = t.${id(key[0]!.name)}`
      : set.map(({ name, type }, i) => `${id(name)} = v.c${i}::${type}`).join(', ')
  return `update only ${id(plan.schema, plan.table)} as t set ${assignments}
            from ${from === STAGED ? `${STAGED} as v` : from} where ${keyMatch(plan, set.length)}`
}

const STAGED = 'pg_temp.pgflex_staged'

/** Puts values of rows into a table of the session, for what is too large for parameters. */
function stageValues(plan: TablePlan, sent: readonly PlanColumn[], parts: readonly CopiedValues[]): Statement[] {
  const columns = sent.map(({ sentAs }, i) => `c${i} ${sentAs}`)
  return [
    { sql: `create table ${STAGED} (${columns.join(', ')})`, params: [], kind: 'update', expected: 0 },
    {
      sql: `copy ${STAGED} from stdin${plan.binary ? ' (format binary)' : ''}`,
      params: [],
      copy: copyData(plan.binary, ...parts),
      plan,
      kind: 'update',
      expected: parts[0]!.rows.length,
    },
  ]
}

export function deleteRows(plan: TablePlan, keys: readonly Tuple[]): Statement {
  return {
    sql: memo(plan, 'delete', deleteSql),
    params: arraysOf(keys, plan.key!),
    plan,
    kind: 'delete',
    expected: keys.length,
    ...(keys.length === 1 ? { row: () => describeRow(plan, keys[0]!) } : {}),
  }
}

function deleteSql(plan: TablePlan): string {
  return `delete from only ${id(plan.schema, plan.table)} as t
           using ${unnest(plan.key!)} where ${keyMatch(plan, 0)}`
}

/** Updates one row that looks like the old one in every column; of several that do, any one is right. */
export function updateAlike(plan: TablePlan, old: Tuple, row: Tuple): Statement {
  const values = tupleValues(row)
  const set = plan.columns.filter(({ position }) => values[position] !== UNCHANGED)
  const params = set.map(({ position }) => sent(values[position]!))
  const match = alike(plan, old, params)
  const assignments =
    set.length === 0
      ? `${id(plan.columns[0]!.name)} = t.${id(plan.columns[0]!.name)}`
      : set.map(({ name, type, sentAs }, i) => `${id(name)} = $${i + 1}::${sentAs}::${type}`).join(', ')
  return {
    sql: `update only ${id(plan.schema, plan.table)} as t set ${assignments} where ${match}`,
    params,
    plan,
    kind: 'update',
    expected: 1,
    row: () => describeRow(plan, old),
  }
}

/** Deletes one row that looks like the old one in every column. */
export function deleteAlike(plan: TablePlan, old: Tuple): Statement {
  const params: (Buffer | null)[] = []
  const match = alike(plan, old, params)
  return {
    sql: `delete from only ${id(plan.schema, plan.table)} as t where ${match}`,
    params,
    plan,
    kind: 'delete',
    expected: 1,
    row: () => describeRow(plan, old),
  }
}

/**
 * Empties tables in one statement. Of a TRUNCATE … CASCADE the source names every table that it has emptied,
 * so there is nothing to cascade to.
 *
 * A table that still has rows to check at the end of the transaction is not emptied ("pending trigger events"). The
 * source has checked them by then, maybe in a transaction before: so do we.
 */
export function truncateTables(plans: readonly TablePlan[], restartIdentity: boolean): Statement[] {
  const tables = plans.map(({ schema, table }) => `only ${id(schema, table)}`).join(', ')
  const constraints = plans.flatMap(({ deferrable }) => deferrable).join(', ')
  const statement = (sql: string): Statement => ({
    sql,
    params: [],
    ...(plans.length === 1 ? { plan: plans[0]! } : {}),
    kind: 'truncate',
    expected: 0,
  })
  const truncate = statement(`truncate table ${tables} ${restartIdentity ? 'restart identity' : 'continue identity'}`)
  return constraints === ''
    ? [truncate]
    : [
        statement(`set constraints ${constraints} immediate`),
        truncate,
        statement(`set constraints ${constraints} deferred`),
      ]
}

/**
 * Statements of a table that are kept: there is an UPDATE for each set of large values that were not sent, and two to the
 * power of the columns of such sets. As many as a table with six such columns can have.
 */
const KEPT_SQL = 64

function memo(plan: TablePlan, shape: string, make: (plan: TablePlan) => string): string {
  let sql = plan.sql.get(shape)
  if (sql === undefined) {
    sql = make(plan)
    if (plan.sql.size >= KEPT_SQL) plan.sql.clear()
    plan.sql.set(shape, sql)
  }
  return sql
}

function areLarge(rows: readonly Tuple[]): boolean {
  let bytes = 0
  for (const { start, end } of rows) bytes += end - start
  return bytes > PARAMETER_BYTES
}

const columnList = (columns: readonly PlanColumn[]): string => columns.map(({ name }) => id(name)).join(', ')

/** Arrays side by side as the table v with the columns c0, c1, … */
function unnest(columns: readonly PlanColumn[]): string {
  const arrays = columns.map(({ sentAs }, i) => `$${i + 1}::${sentAs}[]`)
  return `unnest(${arrays.join(', ')}) as v (${columns.map((_, i) => `c${i}`).join(', ')})`
}

function arraysOf(rows: readonly Tuple[], columns: readonly PlanColumn[]): Buffer[] {
  return valueArrays(
    rows,
    columns.map(({ position, sentAsOid }): ArrayColumn => ({ position, elementOid: sentAsOid })),
  )
}

function keyMatch(plan: TablePlan, offset: number): string {
  return plan
    .key!.map(({ name, type, operator }, i) => `t.${id(name)} ${operator} v.c${offset + i}::${type}`)
    .join(' and ')
}

/** NULL is alike to NULL. Types that have no `=`, or one that is true for different values, are compared by their text. */
function alike(plan: TablePlan, old: Tuple, params: (Buffer | null)[]): string {
  const values = tupleValues(old)
  const conditions = plan.columns.map((column) => {
    const value = sent(values[column.position]!)
    if (value === null) return `${id(column.name)} is null`
    params.push(value)
    return sameValue(column, params.length)
  })
  return `t.ctid = (select ctid from only ${id(plan.schema, plan.table)} where ${conditions.join(' and ') || 'true'} limit 1)`
}

function sameValue({ name, type, imageEqual, sentAs }: PlanColumn, parameterNumber: number): string {
  const value = `$${parameterNumber}::${sentAs}`
  if (imageEqual) return `${id(name)} = ${value}::${type}`
  // Through format, which takes the type's own output function as the source does; a cast to text may differ (inet).
  return `format('%s', ${id(name)}) = format('%s', ${value}) collate "C"`
}

/** node-postgres sends bytes as the binary form of the parameter's type, which for varchar is its text. */
function sent(value: Value): Buffer | null {
  if (value === UNCHANGED) throw new Error('A TOAST value that was not sent can not be written.')
  return value
}

/** Only the key: other values are nobody's business in an error message. */
function describeRow({ key, binary }: TablePlan, row: Tuple): string {
  if (!key) return 'a row of a table without key'
  return key
    .map(({ name, position, type }) => `${name}=${showValue(tupleValue(row, position), binary ? type : 'text')}`)
    .join(', ')
}
