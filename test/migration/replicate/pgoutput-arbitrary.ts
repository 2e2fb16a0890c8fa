import fc from 'fast-check'
import type { PgoutputMessage, Relation } from '../../../migration/replicate/pgoutput-message.ts'
import { tupleOf, UNCHANGED, type Tuple } from '../../../migration/replicate/tuple.ts'

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

/** Any message of pgoutput, of protocol versions 1 to 4. */
export const message: fc.Arbitrary<PgoutputMessage> = fc.oneof(
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
  fc.record({ kind: kind('streamStart'), xid: uint32, first: fc.boolean() }),
  fc.record({ kind: kind('streamStop') }),
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
