import { NULL_LENGTH, readValues, valueRoom, type Tuple } from '../tuple.ts'

const VARCHAR_OID = 1043
/** Dimensions, flags, element type; length and lower bound of the one dimension. */
const HEADER_BYTES = 20
/** Up to here a loop is faster than a call of copy. */
const SHORT_BYTES = 64

const room = valueRoom()

/**
 * The columns of rows as `varchar[]` in PostgreSQL's binary array format: the values are carried as they are,
 * without quoting. varchar and not text, because a user's own cast from text could take the place of a type's
 * input function.
 *
 * Format: array_recv in src/backend/utils/adt/arrayfuncs.c.
 *
 * @returns an array for each of the positions
 */
export function varcharArrays(rows: readonly Tuple[], positions: readonly number[]): Buffer[] {
  const bytes = positions.map(() => HEADER_BYTES + 4 * rows.length)
  const nulls = positions.map(() => 0)
  for (const row of rows) {
    readValues(row, room)
    for (let i = 0; i < positions.length; i++) {
      const length = room[2 * positions[i]! + 1]!
      if (length >= 0) bytes[i]! += length
      else if (length === NULL_LENGTH) nulls[i] = 1
      // A defect of ours, never of the data: the columns of a statement are those that the source has sent.
      else throw new Error('A TOAST value that was not sent can not be written.')
    }
  }
  const arrays = bytes.map((size, i) => header(size, rows.length, nulls[i]!))
  const offsets = new Int32Array(positions.length).fill(HEADER_BYTES)
  for (const row of rows) {
    readValues(row, room)
    for (let i = 0; i < positions.length; i++) {
      const start = room[2 * positions[i]!]!
      const length = room[2 * positions[i]! + 1]!
      offsets[i] = element(arrays[i]!, offsets[i]!, row.bytes, start, length)
    }
  }
  return arrays
}

function header(size: number, rows: number, hasNull: number): Buffer {
  const array = Buffer.allocUnsafe(rows === 0 ? HEADER_BYTES - 8 : size)
  let offset = array.writeInt32BE(rows === 0 ? 0 : 1, 0)
  offset = array.writeInt32BE(hasNull, offset)
  offset = array.writeInt32BE(VARCHAR_OID, offset)
  if (rows === 0) return array
  offset = array.writeInt32BE(rows, offset)
  array.writeInt32BE(1, offset)
  return array
}

/** Writes a value with its length before it. @returns where the next one goes */
function element(array: Buffer, offset: number, bytes: Buffer, start: number, length: number): number {
  array[offset] = length >> 24
  array[offset + 1] = length >> 16
  array[offset + 2] = length >> 8
  array[offset + 3] = length
  offset += 4
  if (length <= 0) return offset
  if (length > SHORT_BYTES) {
    bytes.copy(array, offset, start, start + length)
    return offset + length
  }
  for (let i = 0; i < length; i++) array[offset + i] = bytes[start + i]!
  return offset + length
}
