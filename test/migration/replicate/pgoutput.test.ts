import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MigrationError } from '../../../migration/errors.ts'
import { PgoutputDecoder } from '../../../migration/replicate/pgoutput.ts'
import type { PgoutputMessage } from '../../../migration/replicate/pgoutput-message.ts'
import { message } from './pgoutput-arbitrary.ts'
import { pgoutputBytes } from './pgoutput-bytes.ts'

/** `bytes` is the length of the message itself. */
function withBytes(expected: PgoutputMessage, bytes: Buffer): PgoutputMessage {
  return 'bytes' in expected ? { ...expected, bytes: bytes.length } : expected
}

test('every message is read as it was written', () => {
  fc.assert(
    fc.property(message, (expected) => {
      const bytes = pgoutputBytes(expected)
      expect(new PgoutputDecoder().decode(bytes)).toEqual(withBytes(expected, bytes))
    }),
    { numRuns: 2000 },
  )
})

test('between the start and the stop of a stream, changes carry their transaction', () => {
  const decoder = new PgoutputDecoder()
  const insert: PgoutputMessage = { kind: 'insert', relation: 7, row: ['a'], bytes: 0 }
  const inside = pgoutputBytes({ ...insert, xid: 4_294_967_295 })
  decoder.decode(pgoutputBytes({ kind: 'streamStart', xid: 4_294_967_295, first: true }))
  expect(decoder.decode(inside)).toEqual({ ...insert, xid: 4_294_967_295, bytes: inside.length })
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

test('values do not change when the buffer of the connection is used again', () => {
  const bytes = pgoutputBytes({ kind: 'insert', relation: 1, row: ['small', 'l'.repeat(100_000)], bytes: 0 })
  const decoded = new PgoutputDecoder().decode(bytes)
  bytes.fill(0x78)
  expect(decoded).toMatchObject({ row: ['small', Buffer.from('l'.repeat(100_000))] })
})

test('text of a SQL_ASCII source that is no UTF-8 stays as it is', () => {
  const bytes = pgoutputBytes({ kind: 'insert', relation: 1, row: ['x?y', 'é'], bytes: 0 })
  bytes[bytes.indexOf(0x3f)] = 0xe9
  expect(new PgoutputDecoder({ checkUtf8: true }).decode(bytes)).toMatchObject({
    row: [Buffer.from([0x78, 0xe9, 0x79]), 'é'],
  })
})
