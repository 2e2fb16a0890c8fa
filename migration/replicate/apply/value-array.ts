import { NULL_LENGTH, readValues, valueRoom, type Tuple } from '../tuple.ts'
import { expectSent, writeValue } from './copy-data.ts'

/** Dimensions, flags, element type; length and lower bound of the one dimension. */
const HEADER_BYTES = 20

const room = valueRoom()

/** Which values of rows, and the object id of the array's elements. */
export interface ArrayColumn {
  position: number
  elementOid: number
}

/**
 * Columns of rows as arrays in PostgreSQL's binary array format: the values are carried as they are, without quoting.
 *
 * Format: array_recv in src/backend/utils/adt/arrayfuncs.c.
 *
 * @returns an array for each of the columns
 */
export function valueArrays(rows: readonly Tuple[], columns: readonly ArrayColumn[]): Buffer[] {
  const positions = columns.map(({ position }) => position)
  const bytes = positions.map(() => HEADER_BYTES + 4 * rows.length)
  const nulls = positions.map(() => 0)
  for (const row of rows) {
    readValues(row, room)
    for (let i = 0; i < positions.length; i++) {
      const length = room[2 * positions[i]! + 1]!
      if (length >= 0) bytes[i]! += length
      else if (length === NULL_LENGTH) nulls[i] = 1
      else expectSent(length)
    }
  }
  const arrays = bytes.map((size, i) => header(size, rows.length, nulls[i]!, columns[i]!.elementOid))
  const offsets = new Int32Array(positions.length).fill(HEADER_BYTES)
  for (const row of rows) {
    readValues(row, room)
    for (let i = 0; i < positions.length; i++) {
      const start = room[2 * positions[i]!]!
      const length = room[2 * positions[i]! + 1]!
      offsets[i] = writeValue(row.bytes, start, length, arrays[i]!, offsets[i]!)
    }
  }
  return arrays
}

function header(size: number, rows: number, hasNull: number, elementOid: number): Buffer {
  const array = Buffer.allocUnsafe(size)
  let offset = array.writeInt32BE(1, 0)
  offset = array.writeInt32BE(hasNull, offset)
  offset = array.writeUInt32BE(elementOid, offset)
  offset = array.writeInt32BE(rows, offset)
  array.writeInt32BE(1, offset)
  return array
}
