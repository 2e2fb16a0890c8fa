/** Stands in a new row for a TOAST value that the UPDATE did not touch, and that the source did not send. */
export const UNCHANGED = Symbol('unchanged TOAST value')

/** PostgreSQL's text of a value, or its binary form where that was asked for; null for NULL. */
export type Value = Buffer | null | typeof UNCHANGED

/**
 * A row as pgoutput sent it, its values in the order of its relation's columns. Nothing is made of them before
 * they are written: a row is a place in the bytes that arrived, which live as long as it does.
 */
export interface Tuple {
  bytes: Buffer
  /** Where its first value stands. */
  start: number
  /** The first byte after its last value. */
  end: number
  columns: number
  /** At least one value was not sent, and is {@link UNCHANGED}. */
  unchanged: boolean
}

/** The lengths in {@link readValues} of what has no bytes. */
export const NULL_LENGTH = -1
export const UNCHANGED_LENGTH = -2

/** TupleData: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html */
export const TEXT_VALUE = 0x74 // t
export const BINARY_VALUE = 0x62 // b
export const NULL_VALUE = 0x6e // n
export const UNCHANGED_VALUE = 0x75 // u

/** Finds the values of a row: for each, its start and its length in `found`, which has to have room. */
export function readValues({ bytes, start, columns }: Tuple, found: Int32Array): void {
  let offset = start
  for (let i = 0; i < columns * 2; i += 2) {
    const kind = bytes[offset]!
    offset++
    if (kind !== NULL_VALUE && kind !== UNCHANGED_VALUE) {
      const length =
        (bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!
      offset += 4
      found[i] = offset
      found[i + 1] = length
      offset += length
    } else {
      found[i] = offset
      found[i + 1] = kind === NULL_VALUE ? NULL_LENGTH : UNCHANGED_LENGTH
    }
  }
}

/** Room for {@link readValues} of any row: a table has at most 1600 columns (MaxHeapAttributeNumber). */
export function valueRoom(): Int32Array {
  return new Int32Array(2 * 1600)
}

const room = valueRoom()

/** The values of a row, as views of its bytes. */
export function tupleValues(tuple: Tuple): Value[] {
  readValues(tuple, room)
  return Array.from({ length: tuple.columns }, (_, i) => valueAt(tuple, i))
}

/** One value of a row. */
export function tupleValue(tuple: Tuple, position: number): Value {
  readValues(tuple, room)
  return valueAt(tuple, position)
}

function valueAt({ bytes }: Tuple, position: number): Value {
  const length = room[2 * position + 1]!
  if (length === NULL_LENGTH) return null
  if (length === UNCHANGED_LENGTH) return UNCHANGED
  const start = room[2 * position]!
  return bytes.subarray(start, start + length)
}

/** A row of these values. */
export function tupleOf(values: readonly (Value | string)[]): Tuple {
  const parts: Buffer[] = []
  for (const value of values) {
    if (value === null) parts.push(Buffer.of(NULL_VALUE))
    else if (value === UNCHANGED) parts.push(Buffer.of(UNCHANGED_VALUE))
    else {
      const bytes = typeof value === 'string' ? Buffer.from(value) : value
      const head = Buffer.of(TEXT_VALUE, 0, 0, 0, 0)
      head.writeInt32BE(bytes.length, 1)
      parts.push(head, bytes)
    }
  }
  const bytes = Buffer.concat(parts)
  return { bytes, start: 0, end: bytes.length, columns: values.length, unchanged: values.includes(UNCHANGED) }
}

/** The row after an update, with the values that it did not send from the row before. */
export function mergeTuples(before: Tuple, after: Tuple): Tuple {
  if (!after.unchanged) return after
  const old = tupleValues(before)
  return tupleOf(tupleValues(after).map((value, i) => (value === UNCHANGED ? old[i]! : value)))
}
