import { id } from '../sql.ts'
import type { KeyColumn } from './row-identity.ts'

/** The values of a key as text, in the order of its columns. */
export type Key = string[]

/** Rows after `lower`, up to and with `upper`; no bound where there is none. */
export interface KeyRange {
  lower?: Key
  upper?: Key
}

/** A condition of SQL and the values of its parameters. */
export interface Condition {
  sql: string
  values: unknown[]
}

/** The condition of a range. Comparing rows, not columns, lets an index of the key find it. */
export function inRange(columns: KeyColumn[], { lower, upper }: KeyRange): Condition {
  const values: unknown[] = []
  const bound = (operator: string, key: Key): string => {
    const parts = columns.map(({ type }, index) => `$${values.push(key[index])}::${type}`)
    return `(${keyList(columns)}) ${operator} (${parts.join(', ')})`
  }
  const parts = [...(lower ? [bound('>', lower)] : []), ...(upper ? [bound('<=', upper)] : [])]
  return { sql: parts.length === 0 ? 'true' : parts.join(' and '), values }
}

/** The condition of single rows by their keys. */
export function inKeys(columns: KeyColumn[], keys: Key[]): Condition {
  const names = columns.map((_, index) => `key${index}`)
  const casts = columns.map(({ type }, index) => `wanted.key${index}::${type}`)
  return {
    sql: `(${keyList(columns)}) in (
      select ${casts.join(', ')}
        from unnest(${columns.map((_, index) => `$${index + 1}::text[]`).join(', ')}) as wanted (${names.join(', ')}))`,
    values: columns.map((_, index) => keys.map((key) => key[index])),
  }
}

/** The columns of a key, as a list of SQL. */
export function keyList(columns: KeyColumn[]): string {
  return columns.map(({ name }) => id(name)).join(', ')
}

/**
 * The order of {@link inRange}, as SQL. Operators are those of pg_catalog, the search path of these sessions; the order
 * that a type of an extension has by itself can be another one, in which a range would leave rows out: citext has
 * text's operators in a range.
 */
export function keyOrder(columns: KeyColumn[]): string {
  return columns.map(({ name }) => `${id(name)} using operator(pg_catalog.<)`).join(', ')
}

/** The SQL of a key as the text of a JSON array of texts: no value runs into the next. */
export function keyText(columns: KeyColumn[]): string {
  return `to_json(array[${columns.map(({ name }) => `${id(name)}::text`).join(', ')}])::text`
}
