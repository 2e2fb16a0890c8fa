import { NULL_LENGTH, readValues, type Tuple } from '../tuple.ts'

/** Bytes of a piece: large beside what a piece costs, small beside what may be in memory. */
const PIECE_BYTES = 256 * 1024
/** Bytes of a value that are looked at at a time; escaping at most doubles them. */
const SLICE_BYTES = 64 * 1024

/** Room for a tab, a NULL and a newline, which is therefore always there when a value has been written. */
const DELIMITERS_BYTES = 4

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
  // Its own: others read rows while this waits for its next piece to be asked for.
  const values = new Int32Array(2 * Math.max(...parts.map(({ rows }) => rows[0]?.columns ?? 0)))
  const count = parts[0]?.rows.length ?? 0
  let piece = Buffer.allocUnsafe(PIECE_BYTES)
  let size = 0
  for (let n = 0; n < count; n++) {
    let column = 0
    for (const { rows, positions } of parts) {
      const row = rows[n]!
      const { bytes } = row
      readValues(row, values)
      for (const position of positions) {
        if (PIECE_BYTES - size < DELIMITERS_BYTES) {
          yield piece.subarray(0, size)
          piece = Buffer.allocUnsafe(PIECE_BYTES)
          size = 0
        }
        if (column++ > 0) piece[size++] = TAB
        const start = values[2 * position]!
        const length = values[2 * position + 1]!
        if (length < 0) {
          if (length !== NULL_LENGTH) throw new Error('A TOAST value that was not sent can not be written.')
          piece[size++] = BACKSLASH
          piece[size++] = 0x4e // N
          continue
        }
        for (let from = start; from < start + length; from += SLICE_BYTES) {
          const to = Math.min(start + length, from + SLICE_BYTES)
          if (PIECE_BYTES - size < 2 * (to - from) + DELIMITERS_BYTES) {
            yield piece.subarray(0, size)
            piece = Buffer.allocUnsafe(PIECE_BYTES)
            size = 0
          }
          size = escape(bytes, from, to, piece, size)
        }
      }
    }
    piece[size++] = NEWLINE
  }
  if (size > 0) yield piece.subarray(0, size)
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
