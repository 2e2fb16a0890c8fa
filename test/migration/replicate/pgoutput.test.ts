import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MigrationError } from '../../../migration/errors.ts'
import { PgoutputDecoder } from '../../../migration/replicate/pgoutput.ts'
import type { InsertMessage, PgoutputMessage } from '../../../migration/replicate/pgoutput-message.ts'
import { tupleOf, tupleValues } from '../../../migration/replicate/tuple.ts'
import { message } from './pgoutput-arbitrary.ts'
import { pgoutputBytes } from './pgoutput-bytes.ts'

/** A message with its rows as values; `bytes` is its own length. */
function plain(message: PgoutputMessage, bytes: number): unknown {
  const old = 'old' in message && message.old ? { old: { ...message.old, row: tupleValues(message.old.row) } } : {}
  const row = 'row' in message ? { row: tupleValues(message.row) } : {}
  return { ...message, ...row, ...old, ...('bytes' in message ? { bytes } : {}) }
}

test('every message is read as it was written', () => {
  fc.assert(
    fc.property(message, (expected) => {
      const bytes = pgoutputBytes(expected)
      // Also in the middle of other bytes, as in a chunk of the socket.
      const chunk = Buffer.concat([Buffer.from('before'), bytes, Buffer.from('after')])
      const decoded = new PgoutputDecoder().decode(chunk, 6, 6 + bytes.length)
      expect(plain(decoded, bytes.length)).toEqual(plain(expected, bytes.length))
    }),
    { numRuns: 2000 },
  )
})

test('between the start and the stop of a stream, changes carry their transaction', () => {
  const decoder = new PgoutputDecoder()
  const insert: InsertMessage = { kind: 'insert', relation: 7, row: tupleOf(['a']), bytes: 0 }
  const inside = pgoutputBytes({ ...insert, xid: 4_294_967_295 })
  decoder.decode(pgoutputBytes({ kind: 'streamStart', xid: 4_294_967_295, first: true }))
  expect(plain(decoder.decode(inside), inside.length)).toEqual(plain({ ...insert, xid: 4_294_967_295 }, inside.length))
  decoder.decode(pgoutputBytes({ kind: 'streamStop' }))
  expect(decoder.decode(pgoutputBytes(insert))).not.toHaveProperty('xid')
})

test('a message that is cut off anywhere, or has bytes too many, is a protocol violation', () => {
  fc.assert(
    fc.property(message, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 3 }), (whole, cut, tail) => {
      const bytes = pgoutputBytes(whole)
      const short = bytes.subarray(0, cut % bytes.length)
      // An abort may end after its two ids, or after LSN and time.
      fc.pre(!(whole.kind === 'streamAbort' && short.length === 9))
      expect(() => new PgoutputDecoder().decode(short)).toThrow(MigrationError)
      fc.pre(whole.kind !== 'streamAbort')
      expect(() => new PgoutputDecoder().decode(Buffer.concat([bytes, tail]))).toThrow(
        expect.objectContaining({ code: 'ProtocolViolation' }),
      )
    }),
    { numRuns: 2000 },
  )
})

function outcome(bytes: Buffer): string {
  try {
    return new PgoutputDecoder().decode(bytes).kind === undefined ? 'nothing' : 'message'
  } catch (error) {
    return error instanceof MigrationError ? error.code : String(error)
  }
}

test('bytes that were changed give a message or a protocol violation, never anything else', () => {
  fc.assert(
    fc.property(
      message,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      (original, changes) => {
        const bytes = pgoutputBytes(original)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        expect(['message', 'ProtocolViolation']).toContain(outcome(bytes))
      },
    ),
    { numRuns: 5000 },
  )
})

test('text of a SQL_ASCII source that is no UTF-8 stays as it is', () => {
  const bytes = pgoutputBytes({ kind: 'insert', relation: 1, row: tupleOf(['x?y', 'é']), bytes: 0 })
  bytes[bytes.indexOf(0x3f)] = 0xe9
  const decoded = new PgoutputDecoder().decode(bytes) as InsertMessage
  expect(tupleValues(decoded.row)).toEqual([Buffer.from([0x78, 0xe9, 0x79]), Buffer.from('é')])
})
