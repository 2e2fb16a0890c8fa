import { NULL_VALUE, readValues, UNCHANGED_VALUE, valueRoom, type Tuple } from '../tuple.ts'
import type { TablePlan } from './table-plan.ts'

const INTEGER_TYPES = new Set(['smallint', 'integer', 'bigint'])
/** Digits that a number of JavaScript holds exactly, whatever they are. */
const EXACT_DIGITS = 15

const room = valueRoom()

/** Whether the key of a table is one integer. */
export function hasIntegerKey({ key }: TablePlan): boolean {
  return key?.length === 1 && INTEGER_TYPES.has(key[0]!.type)
}

/** The key of a row of such a table; undefined when JavaScript has no such number. */
export function integerKey(tuple: Tuple, { keyPositions, binary }: TablePlan): number | undefined {
  const { bytes, start } = tuple
  const position = keyPositions[0]!
  if (position === 0) {
    const kind = bytes[start]
    if (kind === NULL_VALUE || kind === UNCHANGED_VALUE) return undefined
    return read(bytes, start + 5, bytes.readInt32BE(start + 1), binary)
  }
  readValues(tuple, room)
  return read(bytes, room[2 * position]!, room[2 * position + 1]!, binary)
}

function read(bytes: Buffer, start: number, length: number, binary: boolean): number | undefined {
  if (length < 0) return undefined
  return binary ? fromBinary(bytes, start, length) : fromText(bytes, start, length)
}

function fromBinary(bytes: Buffer, start: number, length: number): number | undefined {
  if (length === 4) return bytes.readInt32BE(start)
  if (length === 2) return bytes.readInt16BE(start)
  const value = bytes.readInt32BE(start) * 2 ** 32 + bytes.readUInt32BE(start + 4)
  return Number.isSafeInteger(value) ? value : undefined
}

function fromText(bytes: Buffer, start: number, length: number): number | undefined {
  const isNegative = bytes[start] === 0x2d
  const digits = isNegative ? length - 1 : length
  if (digits === 0 || digits > EXACT_DIGITS) return undefined
  let value = 0
  for (let offset = start + length - digits; offset < start + length; offset++) {
    const digit = bytes[offset]! - 0x30
    if (digit < 0 || digit > 9) return undefined
    value = value * 10 + digit
  }
  return isNegative ? -value : value
}
