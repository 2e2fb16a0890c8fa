import { NULL_LENGTH, readValues, valueRoom, type Tuple } from '../tuple.ts'

/** Bytes of a piece: large beside what a piece costs, small beside what may be in memory. */
const PIECE_BYTES = 256 * 1024

const BACKSLASH = 0x5c
const TAB = 0x09
const NEWLINE = 0x0a
const RETURN = 0x0d

/** Rows, and which of their values, by position in the order of the COPY's columns. */
export interface CopiedValues {
  rows: readonly Tuple[]
  positions: readonly number[]
}

/**
 * Values of rows in COPY's text format, or, when that is what they are in, its binary format; those of several parts
 * side by side. The pieces are made as they are taken, and a row may be cut anywhere: CopyData messages are one stream
 * for the server.
 * https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
 */
export function* copyData(binary: boolean, ...parts: readonly CopiedValues[]): Generator<Buffer> {
  const count = parts[0]?.rows.length ?? 0
  if (binary) yield BINARY_HEADER
  for (let n = 0; n < count;) {
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    const filled = (binary ? fillBinary : fillText)(parts, n, piece)
    if (filled.size > 0) yield piece.subarray(0, filled.size)
    if (filled.next === n) yield* binary ? largeBinaryRow(parts, n++) : largeTextRow(parts, n++)
    else n = filled.next
  }
  if (binary) yield BINARY_TRAILER
}

const room = valueRoom()

/** The next row, and the bytes written. */
interface Filled {
  next: number
  size: number
}

/** Writes whole rows from `first` on, as many as fit for certain. A loop of its own: one that yields is not compiled. */
function fillText(parts: readonly CopiedValues[], first: number, piece: Buffer): Filled {
  const count = parts[0]!.rows.length
  let size = 0
  for (let n = first; n < count; n++) {
    // Escaping doubles a byte at most, and a NULL takes two where it took one; a delimiter follows each value.
    let bytes = 0
    for (const { rows } of parts) bytes += 2 * (rows[n]!.end - rows[n]!.start) + rows[n]!.columns
    if (size + bytes > PIECE_BYTES) return { next: n, size }
    for (const { rows, positions } of parts) {
      const row = rows[n]!
      readValues(row, room)
      for (let i = 0; i < positions.length; i++) {
        const start = room[2 * positions[i]!]!
        const length = room[2 * positions[i]! + 1]!
        size = length < 0 ? writeNull(length, piece, size) : escape(row.bytes, start, start + length, piece, size)
        piece[size++] = TAB
      }
    }
    // In the place of the last delimiter.
    piece[size - 1] = NEWLINE
  }
  return { next: count, size }
}

function* largeTextRow(parts: readonly CopiedValues[], n: number): Generator<Buffer> {
  let before = 0
  for (const { bytes, start, length } of valuesOf(parts, n)) {
    if (before++ > 0) yield Buffer.of(TAB)
    if (length < 0) {
      const piece = Buffer.allocUnsafe(2)
      writeNull(length, piece, 0)
      yield piece
    }
    for (let from = start; from < start + length; from += PIECE_BYTES / 2) {
      const piece = Buffer.allocUnsafe(PIECE_BYTES)
      const to = Math.min(start + length, from + PIECE_BYTES / 2)
      yield piece.subarray(0, escape(bytes, from, to, piece, 0))
    }
  }
  yield Buffer.of(NEWLINE)
}

function writeNull(length: number, piece: Buffer, offset: number): number {
  expectSent(length)
  piece[offset] = BACKSLASH
  piece[offset + 1] = 0x4e // N
  return offset + 2
}

/** @returns where the next byte goes */
function escape(from: Buffer, start: number, end: number, to: Buffer, offset: number): number {
  for (let i = start; i < end; i++) {
    const byte = from[i]!
    if (byte === BACKSLASH || (byte <= RETURN && (byte === TAB || byte === NEWLINE || byte === RETURN))) {
      to[offset++] = BACKSLASH
      to[offset++] = byte === TAB ? 0x74 : byte === NEWLINE ? 0x6e : byte === RETURN ? 0x72 : byte
    } else to[offset++] = byte
  }
  return offset
}

/** Signature, flags, length of the header's extension. */
const BINARY_HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')
const BINARY_TRAILER = Buffer.of(0xff, 0xff)

function fillBinary(parts: readonly CopiedValues[], first: number, piece: Buffer): Filled {
  const count = parts[0]!.rows.length
  let size = 0
  for (let n = first; n < count; n++) {
    // A length of four bytes for each value, of which a NULL had none, and the number of values.
    let bytes = 2
    for (const { rows } of parts) bytes += rows[n]!.end - rows[n]!.start + 4 * rows[n]!.columns
    if (size + bytes > PIECE_BYTES) return { next: n, size }
    size = piece.writeUInt16BE(widthOf(parts), size)
    for (const { rows, positions } of parts) {
      const row = rows[n]!
      readValues(row, room)
      for (let i = 0; i < positions.length; i++) {
        const start = room[2 * positions[i]!]!
        const length = room[2 * positions[i]! + 1]!
        if (length < 0) expectSent(length)
        size = writeValue(row.bytes, start, length, piece, size)
      }
    }
  }
  return { next: count, size }
}

function* largeBinaryRow(parts: readonly CopiedValues[], n: number): Generator<Buffer> {
  const head = Buffer.allocUnsafe(2)
  head.writeUInt16BE(widthOf(parts))
  yield head
  for (const { bytes, start, length } of valuesOf(parts, n)) {
    expectSent(length)
    const lengthBytes = Buffer.allocUnsafe(4)
    lengthBytes.writeInt32BE(length)
    yield lengthBytes
    for (let from = start; from < start + length; from += PIECE_BYTES) {
      yield bytes.subarray(from, Math.min(start + length, from + PIECE_BYTES))
    }
  }
}

const widthOf = (parts: readonly CopiedValues[]): number =>
  parts.reduce((sum, { positions }) => sum + positions.length, 0)

/** The values of one row. The places are its own: others read rows while this waits for its next piece to be asked for. */
function valuesOf(parts: readonly CopiedValues[], n: number): { bytes: Buffer; start: number; length: number }[] {
  return parts.flatMap(({ rows, positions }) => {
    const row = rows[n]!
    readValues(row, room)
    return positions.map((position) => ({
      bytes: row.bytes,
      start: room[2 * position]!,
      length: room[2 * position + 1]!,
    }))
  })
}

/** A defect of ours, never of the data: the columns of a statement are those that the source has sent. */
export function expectSent(length: number): void {
  if (length < NULL_LENGTH) throw new Error('A TOAST value that was not sent can not be written.')
}

/** Up to here a loop is faster than a call of copy. */
const SHORT_BYTES = 64

/** Writes a value with its length before it, as COPY's binary format and arrays have it. @returns where the next one goes */
export function writeValue(bytes: Buffer, start: number, length: number, to: Buffer, offset: number): number {
  to[offset] = length >> 24
  to[offset + 1] = length >> 16
  to[offset + 2] = length >> 8
  to[offset + 3] = length
  offset += 4
  if (length <= 0) return offset
  if (length > SHORT_BYTES) {
    bytes.copy(to, offset, start, start + length)
    return offset + length
  }
  for (let i = 0; i < length; i++) to[offset + i] = bytes[start + i]!
  return offset + length
}
