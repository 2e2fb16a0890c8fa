import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PgoutputDecoder } from '../../../migration/replicate/pgoutput.ts'
import type { PgoutputMessage } from '../../../migration/replicate/pgoutput-message.ts'
import { tupleOf } from '../../../migration/replicate/tuple.ts'
import { message } from './pgoutput-arbitrary.ts'
import { pgoutputBytes } from './pgoutput-bytes.ts'
import { damage, outcome } from './pgoutput-damage.ts'
import { random } from './workload.ts'

const SEED = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)

/** Both forms that a value can have. */
const decoders = (): PgoutputDecoder[] => [new PgoutputDecoder(), new PgoutputDecoder({ binary: true })]

const STREAM_START = pgoutputBytes({ kind: 'streamStart', xid: 7, first: true })

/** Messages as they are inside of a streamed transaction, where they carry its id. */
const CARRY_XID = new Set(['relation', 'type', 'insert', 'update', 'delete', 'truncate', 'message'])

test(`damaged messages of every kind, inside and outside of a streamed transaction, are refused or read as others (seed ${SEED})`, () => {
  const seen = { message: 0, ProtocolViolation: 0 }
  const kinds = new Set<string>()
  fc.assert(
    fc.property(message, message, fc.boolean(), fc.nat(), (plain, other, streaming, chance) => {
      const next = random(chance)
      kinds.add(plain.kind)
      const inside: PgoutputMessage =
        streaming && CARRY_XID.has(plain.kind) ? ({ ...plain, xid: 4_294_967_295 } as PgoutputMessage) : plain
      const bytes = damage(pgoutputBytes(inside), pgoutputBytes(other), next)
      for (const decoder of decoders()) {
        if (streaming) decoder.decode(STREAM_START)
        const result = outcome(decoder, bytes)
        expect(['message', 'ProtocolViolation']).toContain(result)
        seen[result as keyof typeof seen]++
      }
    }),
    { seed: SEED, numRuns: 6_000 },
  )
  // The damage is neither always noticed (another value is another value) nor ever harmless.
  expect(seen.message).toBeGreaterThan(500)
  expect(seen.ProtocolViolation).toBeGreaterThan(500)
  expect(kinds.size).toBe(19)
})

test(`whole streams with a message that is missing, doubled, moved or damaged never do more than end (seed ${SEED})`, () => {
  fc.assert(
    fc.property(fc.array(message, { minLength: 2, maxLength: 12 }), fc.nat(), (messages, chance) => {
      const next = random(chance)
      const stream = messages.flatMap((each) =>
        next(3) === 0
          ? [STREAM_START, pgoutputBytes(each), pgoutputBytes({ kind: 'streamStop' })]
          : [pgoutputBytes(each)],
      )
      const [at, to] = [next(stream.length), next(stream.length)]
      const [moved] = stream.splice(at, next(2))
      if (moved) stream.splice(to, 0, moved, ...(next(2) ? [moved] : []))
      if (stream.length > 0) {
        const hit = next(stream.length)
        stream[hit] = damage(stream[hit]!, stream[next(stream.length)]!, next)
      }
      for (const decoder of decoders())
        for (const bytes of stream) expect(['message', 'ProtocolViolation']).toContain(outcome(decoder, bytes))
    }),
    { seed: SEED, numRuns: 1_500 },
  )
})

test(`bytes of chance, and no bytes at all, are refused (seed ${SEED})`, () => {
  for (const decoder of decoders()) expect(outcome(decoder, Buffer.alloc(0))).toBe('ProtocolViolation')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const decoder of decoders())
        expect(['message', 'ProtocolViolation']).toContain(outcome(decoder, Buffer.from(bytes)))
    }),
    { seed: SEED, numRuns: 3_000 },
  )
})

test('a number of columns, tables or bytes that a message cannot hold costs neither time nor memory', () => {
  const columns = pgoutputBytes({ kind: 'insert', relation: 1, row: tupleOf([]), bytes: 0 })
  columns.writeUInt16BE(0xffff, columns.length - 2)
  const value = pgoutputBytes({ kind: 'insert', relation: 1, row: tupleOf(['v']), bytes: 0 })
  value.writeInt32BE(0x7fffffff, value.length - 5)
  const negative = Buffer.from(value)
  negative.writeInt32BE(-1, value.length - 5)
  const tables = pgoutputBytes({ kind: 'truncate', relations: [], cascade: false, restartIdentity: false })
  tables.writeUInt32BE(0xffffffff, 1)
  const content = pgoutputBytes({
    kind: 'message',
    transactional: true,
    lsn: 1n,
    prefix: 'p',
    content: Buffer.alloc(0),
  })
  content.writeInt32BE(0x7fffffff, content.length - 4)
  const before = process.memoryUsage()
  for (let times = 0; times < 1_000; times++) {
    for (const bytes of [columns, value, negative, tables, content]) {
      for (const decoder of decoders()) expect(outcome(decoder, bytes)).toBe('ProtocolViolation')
    }
  }
  const after = process.memoryUsage()
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(64 * 1024 * 1024)
})

test('a value in the format that was not asked for is refused', () => {
  const text = pgoutputBytes({ kind: 'insert', relation: 1, row: tupleOf(['v']), bytes: 0 })
  const binary = Buffer.from(text)
  binary.write('b', binary.length - 6)
  expect(outcome(new PgoutputDecoder(), binary)).toBe('ProtocolViolation')
  expect(outcome(new PgoutputDecoder(), text)).toBe('message')
  expect(outcome(new PgoutputDecoder({ binary: true }), text)).toBe('ProtocolViolation')
  expect(outcome(new PgoutputDecoder({ binary: true }), binary)).toBe('message')
})
