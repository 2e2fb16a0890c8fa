import { UNCHANGED, type Value } from '../pgoutput-message.ts'

const VARCHAR_OID = 1043
/** Dimensions, flags, element type; length and lower bound of the one dimension. */
const HEADER_BYTES = 20

/**
 * A `varchar[]` in PostgreSQL's binary array format: the values are carried as they are, without quoting.
 * varchar and not text, because a user's own cast from text could take the place of a type's input function.
 *
 * Format: array_recv in src/backend/utils/adt/arrayfuncs.c.
 */
export function varcharArray(values: readonly Value[]): Buffer {
  let bytes = HEADER_BYTES
  let hasNull = 0
  for (const value of values) {
    bytes += 4
    if (value === null) hasNull = 1
    else if (typeof value === 'string') bytes += Buffer.byteLength(value)
    else bytes += sized(value).length
  }
  const buffer = Buffer.allocUnsafe(bytes)
  let offset = buffer.writeInt32BE(values.length === 0 ? 0 : 1, 0)
  offset = buffer.writeInt32BE(hasNull, offset)
  offset = buffer.writeInt32BE(VARCHAR_OID, offset)
  if (values.length === 0) return buffer.subarray(0, offset)
  offset = buffer.writeInt32BE(values.length, offset)
  offset = buffer.writeInt32BE(1, offset)
  for (const value of values) {
    if (value === null) {
      offset = buffer.writeInt32BE(-1, offset)
    } else if (typeof value === 'string') {
      const length = buffer.write(value, offset + 4)
      offset = buffer.writeInt32BE(length, offset) + length
    } else {
      offset = buffer.writeInt32BE(sized(value).length, offset)
      offset += sized(value).copy(buffer, offset)
    }
  }
  return buffer
}

function sized(value: Exclude<Value, string | null>): Buffer {
  // A defect of ours, never of the data: the columns of a statement are those that the source has sent.
  if (value === UNCHANGED) throw new Error('A TOAST value that was not sent can not be written.')
  return value
}
