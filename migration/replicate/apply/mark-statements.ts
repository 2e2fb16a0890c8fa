import type { Tuple } from '../tuple.ts'
import type { Statement } from './statements.ts'
import type { TablePlan } from './table-plan.ts'
import { valueArrays } from './value-array.ts'

/** The keys of rows, as one mark: an array for each column, in the text that the target gives them. */
export function keyMark(id: number, plan: TablePlan, rows: readonly Tuple[]): Statement {
  const key = plan.key!
  const arrays = valueArrays(
    rows,
    key.map(({ position, sentAsOid }) => ({ position, elementOid: sentAsOid })),
  )
  let sql = plan.sql.get(SHAPE)
  if (sql === undefined) {
    sql = `insert into pgflex.change_mark (table_id, marks, keys)
           values ($1, $2, array[${key.map(({ sentAs }, i) => `$${i + 3}::${sentAs}[]::text`).join(', ')}])`
    plan.sql.set(SHAPE, sql)
  }
  return statement(sql, [String(id), String(rows.length), ...arrays])
}

const SHAPE = 'mark'

/** Keys of one integer column. */
export function integerMark(id: number, keys: readonly number[]): Statement {
  const sql = 'insert into pgflex.change_mark (table_id, marks, keys) values ($1, $2, array[$3])'
  return statement(sql, [String(id), String(keys.length), `{${keys.join(',')}}`])
}

/** Blocks of neighbouring integer keys. */
export function blockMark(id: number, blocks: readonly number[]): Statement {
  const sql = 'insert into pgflex.change_mark (table_id, marks, blocks) values ($1, $2, $3)'
  return statement(sql, [String(id), String(blocks.length), `{${blocks.join(',')}}`])
}

/** What the keys are the values of. Marks of different columns can't be told apart: then the table is marked whole. */
export function keyColumnsMark(id: number, { key }: TablePlan): Statement {
  return statement(
    `update pgflex.marked_table
        set whole = whole or key_columns is not null, key_columns = array(select json_array_elements_text($2::json))
      where id = $1 and key_columns is distinct from array(select json_array_elements_text($2::json))`,
    [String(id), JSON.stringify(key!.map(({ name }) => name))],
  )
}

/** More has changed than rows, or more rows than are marked one by one. */
export function wholeMark(id: number): Statement {
  return statement('update pgflex.marked_table set whole = true where id = $1 and not whole', [String(id)])
}

function statement(sql: string, params: Statement['params']): Statement {
  return { sql, params, kind: 'mark', expected: 0 }
}
