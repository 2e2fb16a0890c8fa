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
 * Values of rows in COPY's text format, those of several parts side by side. The pieces are made as they are taken,
 * and a row may be cut anywhere: CopyData messages are one stream for the server.
 * https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
 */
export function* copyText(...parts: readonly CopiedValues[]): Generator<Buffer> {
  const count = parts[0]?.rows.length ?? 0
  for (let n = 0; n < count;) {
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    const filled = fill(parts, n, piece)
    if (filled.size > 0) yield piece.subarray(0, filled.size)
    if (filled.next === n) yield* largeRow(parts, n++)
    else n = filled.next
  }
}

const room = valueRoom()

/** Writes whole rows from `first` on, as many as fit for certain. A loop of its own: one that yields is not compiled. */
function fill(parts: readonly CopiedValues[], first: number, piece: Buffer): { next: number; size: number } {
  const count = parts[0]!.rows.length
  let size = 0
  for (let n = first; n < count; n++) {
    let bytes = 0
    // Escaping doubles a byte at most; a NULL is longer than it was.
    for (const { rows } of parts) bytes += 2 * (rows[n]!.end - rows[n]!.start) + 2 * rows[n]!.columns
    if (size + bytes + 1 > PIECE_BYTES) return { next: n, size }
    let separate = false
    for (const { rows, positions } of parts) {
      const row = rows[n]!
      readValues(row, room)
      for (let i = 0; i < positions.length; i++) {
        const at = 2 * positions[i]!
        if (separate) piece[size++] = TAB
        separate = true
        const start = room[at]!
        const length = room[at + 1]!
        size = length < 0 ? writeNull(length, piece, size) : escape(row.bytes, start, start + length, piece, size)
      }
    }
    piece[size++] = NEWLINE
  }
  return { next: count, size }
}

/** A row that may be larger than a piece. */
function* largeRow(parts: readonly CopiedValues[], n: number): Generator<Buffer> {
  let before = 0
  for (const { rows, positions } of parts) {
    const row = rows[n]!
    // Its own: others read rows while this waits for its next piece to be asked for.
    const values = new Int32Array(2 * row.columns)
    readValues(row, values)
    for (const position of positions) {
      if (before++ > 0) yield Buffer.of(TAB)
      const start = values[2 * position]!
      const length = values[2 * position + 1]!
      if (length < 0) {
        const piece = Buffer.allocUnsafe(2)
        writeNull(length, piece, 0)
        yield piece
      }
      for (let from = start; from < start + length; from += PIECE_BYTES / 2) {
        const piece = Buffer.allocUnsafe(PIECE_BYTES)
        const to = Math.min(start + length, from + PIECE_BYTES / 2)
        yield piece.subarray(0, escape(row.bytes, from, to, piece, 0))
      }
    }
  }
  yield Buffer.of(NEWLINE)
}

function writeNull(length: number, piece: Buffer, offset: number): number {
  if (length !== NULL_LENGTH) throw new Error('A TOAST value that was not sent can not be written.')
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
