import { NULL_VALUE, readValues, UNCHANGED_LENGTH, UNCHANGED_VALUE, valueRoom, type Tuple } from '../tuple.ts'

/** One JavaScript value for the values of a key: the same for the same bytes, another for others. */
export type RowKey = string | number

/** Digits that a number of JavaScript holds exactly, whatever they are. */
const EXACT_DIGITS = 15

const room = valueRoom()
const other = valueRoom()

/** The key of a row. @param positions of the key's columns, at least one */
export function rowKey(tuple: Tuple, positions: readonly number[]): RowKey {
  if (positions.length === 1 && positions[0] === 0) return firstValue(tuple)
  readValues(tuple, room)
  const { bytes } = tuple
  // Each value with its kind and its length before it, so that no two keys run into the same text.
  let key = ''
  for (const position of positions) {
    const start = room[2 * position]!
    const length = room[2 * position + 1]!
    key += length < 0 ? latin1(bytes, start - 1, start) : latin1(bytes, start - 5, start + length)
  }
  return key
}

function firstValue({ bytes, start }: Tuple): RowKey {
  const kind = bytes[start]
  // Neither is the key of a row; a zero byte keeps them apart from values all the same.
  if (kind === NULL_VALUE || kind === UNCHANGED_VALUE) return `\0${kind}`
  const length = bytes.readInt32BE(start + 1)
  const first = start + 5
  return wholeNumber(bytes, first, length) ?? latin1(bytes, first, first + length)
}

/** One character for each byte. The method that toString comes to in the end; the types leave it out. */
function latin1(bytes: Buffer, start: number, end: number): string {
  return (bytes as unknown as { latin1Slice(start: number, end: number): string }).latin1Slice(start, end)
}

/**
 * The number that stands there in the one form that stands for no other text: no sign, no leading zero. A map
 * finds numbers several times as fast as strings, and most keys are numbers.
 */
function wholeNumber(bytes: Buffer, start: number, length: number): number | undefined {
  if (length === 0 || length > EXACT_DIGITS || (bytes[start] === 0x30 && length > 1)) return undefined
  let value = 0
  for (let offset = start; offset < start + length; offset++) {
    const digit = bytes[offset]! - 0x30
    if (digit < 0 || digit > 9) return undefined
    value = value * 10 + digit
  }
  return value
}

/** Whether a value of the key was not sent. */
export function lacksKey(tuple: Tuple, positions: readonly number[]): boolean {
  if (!tuple.unchanged) return false
  readValues(tuple, room)
  return positions.some((position) => room[2 * position + 1] === UNCHANGED_LENGTH)
}

/** Whether an update gives its row another key; a value that was not sent is the same as before. */
export function movesKey(before: Tuple, after: Tuple, positions: readonly number[]): boolean {
  readValues(before, room)
  readValues(after, other)
  return positions.some((position) => {
    const [start, length] = [room[2 * position]!, room[2 * position + 1]!]
    const [newStart, newLength] = [other[2 * position]!, other[2 * position + 1]!]
    if (newLength === UNCHANGED_LENGTH) return false
    if (length < 0 || newLength < 0) return length !== newLength
    return after.bytes.compare(before.bytes, start, start + length, newStart, newStart + newLength) !== 0
  })
}
