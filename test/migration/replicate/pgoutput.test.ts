import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MigrationError } from '../../../migration/errors.ts'
import { PgoutputDecoder } from '../../../migration/replicate/pgoutput.ts'
import type { InsertMessage, PgoutputMessage, Relation } from '../../../migration/replicate/pgoutput-message.ts'
import { tupleOf, tupleValues, UNCHANGED, type Tuple } from '../../../migration/replicate/tuple.ts'
import { pgoutputBytes } from './pgoutput-bytes.ts'

const name = fc.string({ unit: 'grapheme', maxLength: 20 }).map((text) => text.replaceAll('\0', ''))
const uint32 = fc.integer({ min: 0, max: 0xffffffff })
const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff })
const lsn = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })
/** Whole ms, so that the µs of the wire are exact in a double. */
const time = fc.integer({ min: -62_135_596_800_000, max: 9_000_000_000_000 })
const tuple: fc.Arbitrary<Tuple> = fc
  .array(fc.oneof(name, fc.constant(null), fc.constant(UNCHANGED)), { maxLength: 8 })
  .map((values) => tupleOf(values))
const relation: fc.Arbitrary<Relation> = fc.record({
  oid: uint32,
  schema: name.map((text) => text || 'pg_catalog'),
  name,
  replicaIdentity: fc.constantFrom('d', 'n', 'f', 'i'),
  columns: fc.array(fc.record({ key: fc.boolean(), name, typeOid: uint32, typeModifier: int32 }), { maxLength: 8 }),
})
const old = fc.record({ kind: fc.constantFrom('K' as const, 'O' as const), row: tuple })
const prepared = { prepareLsn: lsn, endLsn: lsn, prepareTime: time, xid: uint32, gid: name }
const kind = <K extends string>(value: K): fc.Arbitrary<K> => fc.constant(value)

const message: fc.Arbitrary<PgoutputMessage> = fc.oneof(
  fc.record({ kind: kind('begin'), finalLsn: lsn, commitTime: time, xid: uint32 }),
  fc.record({ kind: kind('commit'), commitLsn: lsn, endLsn: lsn, commitTime: time }),
  fc.record({ kind: kind('origin'), lsn, name }),
  fc.record({ kind: kind('relation'), relation }),
  fc.record({ kind: kind('type'), oid: uint32, schema: name, name }),
  fc.record({ kind: kind('insert'), relation: uint32, row: tuple, bytes: fc.constant(0) }),
  fc.record({ kind: kind('update'), relation: uint32, row: tuple, bytes: fc.constant(0) }),
  fc.record({ kind: kind('update'), relation: uint32, row: tuple, old, bytes: fc.constant(0) }),
  fc.record({ kind: kind('delete'), relation: uint32, old, bytes: fc.constant(0) }),
  fc.record({
    kind: kind('truncate'),
    relations: fc.array(uint32, { maxLength: 5 }),
    cascade: fc.boolean(),
    restartIdentity: fc.boolean(),
  }),
  fc.record({
    kind: kind('message'),
    transactional: fc.boolean(),
    lsn,
    prefix: name,
    content: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
  }),
  fc.record({ kind: kind('streamCommit'), xid: uint32, commitLsn: lsn, endLsn: lsn, commitTime: time }),
  fc.record({ kind: kind('streamAbort'), xid: uint32, subxid: uint32 }),
  fc.record({ kind: kind('streamAbort'), xid: uint32, subxid: uint32, abortLsn: lsn, abortTime: time }),
  fc.record({
    kind: fc.constantFrom('beginPrepare' as const, 'prepare' as const, 'streamPrepare' as const),
    ...prepared,
  }),
  fc.record({ kind: kind('commitPrepared'), commitLsn: lsn, endLsn: lsn, commitTime: time, xid: uint32, gid: name }),
  fc.record({
    kind: kind('rollbackPrepared'),
    prepareEndLsn: lsn,
    endLsn: lsn,
    prepareTime: time,
    rollbackTime: time,
    xid: uint32,
    gid: name,
  }),
)

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
