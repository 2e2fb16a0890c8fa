import type { Connection } from '../connect.ts'
import type { RowDifference } from '../model/status.ts'
import { id } from '../sql.ts'
import { bothSettled } from './both-settled.ts'
import type { ComparedColumn } from './compared-table.ts'
import { inKeys, keyText } from './key-range.ts'
import { parseKey, type RowsOf } from './row-digests.ts'
import { rowDigest } from './table-hash.ts'

/** Characters of a value that are shown: enough to see what it is. */
const VALUE_LENGTH = 200

interface Row {
  digests: string[]
  values: (string | null)[]
}

/**
 * Reads what differs in single rows: the columns with both values, which are shortened.
 *
 * @param differing the rows, and which side has them
 */
export async function describeRows(
  source: Connection,
  target: Connection,
  rows: RowsOf,
  differing: { id: string; onSource: boolean; onTarget: boolean }[],
): Promise<RowDifference[]> {
  const ids = differing.map((one) => one.id)
  const [left, right] = await bothSettled(readRows(source, rows, ids), readRows(target, rows, ids))
  return differing.map(({ id: row, onSource, onTarget }) => {
    const found = onSource && onTarget ? 'Different' : onSource ? 'OnlySource' : 'OnlyTarget'
    const [ours, theirs] = [left.get(row), right.get(row)]
    const columns = rows.columns.flatMap(({ name }, index) => {
      if (ours && theirs && ours.digests[index] === theirs.digests[index]) return []
      return [{ column: name, source: ours?.values[index] ?? null, target: theirs?.values[index] ?? null }]
    })
    const keys = rows.identity.columns
    const key = Object.fromEntries(keys.map(({ name }, index) => [name, parseKey(row)[index]!]))
    // What is on one side only is named by its key; without one, by its values.
    return { key, found, columns: found === 'Different' || keys.length === 0 ? columns : [] }
  })
}

async function readRows(connection: Connection, rows: RowsOf, ids: string[]): Promise<Map<string, Row>> {
  const { table, columns, identity, digest } = rows
  const keyed = identity.columns.length > 0
  const content = rowDigest(columns, digest)
  const { sql, values } = keyed
    ? inKeys(identity.columns, ids.map(parseKey))
    : { sql: `${content} = any ($1::text[])`, values: [ids] }
  const list = (parts: string[]): string => `to_json(array[${parts.join(', ')}]::text[])::text`
  const answer = await connection.query<{ id: string; digests: string; values: string }>(
    `select ${keyed ? keyText(identity.columns) : content} as id,
            ${list(columns.map((column) => rowDigest([column], digest)))} as digests,
            ${list(columns.map(shownValue))} as values
       from only ${id(table.schema, table.name)}
      where ${sql}`,
    values,
  )
  return new Map(
    answer.rows.map((row) => [
      keyed ? JSON.stringify(parseKey(row.id)) : row.id,
      { digests: JSON.parse(row.digests) as string[], values: JSON.parse(row.values) as (string | null)[] },
    ]),
  )
}

function shownValue({ name, type }: ComparedColumn): string {
  // Its text takes twice its size, and a value is limited to 1 GB.
  if (type === 'bytea') return `'\\x' || encode(substr(${id(name)}, 1, ${VALUE_LENGTH / 2}), 'hex')`
  return `left(${id(name)}::text, ${VALUE_LENGTH})`
}
