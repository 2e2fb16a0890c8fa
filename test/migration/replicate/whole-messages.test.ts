import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { receiveWholeMessages, WholeMessages } from '../../../migration/replicate/whole-messages.ts'

function message(body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(5 + body.length, 'd')
  bytes.writeUInt32BE(4 + body.length, 1)
  bytes.set(body, 5)
  return bytes
}

test('however the bytes are cut, whole messages come out, in order and unchanged', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 })),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (bodies, cuts) => {
        const all = Buffer.concat(bodies.map(message))
        const passed: Buffer[] = []
        const messages = new WholeMessages((bytes) => passed.push(bytes))
        for (let offset = 0, i = 0; offset < all.length; i++) {
          const end = offset + cuts[i % cuts.length]!
          messages.add(Buffer.from(all.subarray(offset, end)))
          offset = end
        }
        expect(Buffer.concat(passed).equals(all)).toBe(true)
        for (const bytes of passed) {
          let offset = 0
          while (offset < bytes.length) offset += 1 + bytes.readUInt32BE(offset + 1)
          expect(offset).toBe(bytes.length)
        }
      },
    ),
  )
})

test('a message in many pieces takes its own size of memory, and the next one does not touch it', () => {
  const passed: Buffer[] = []
  const messages = new WholeMessages((bytes) => passed.push(bytes))
  const [first, second] = [message(Buffer.alloc(300_000, 'a')), message(Buffer.alloc(200_000, 'b'))]
  const all = Buffer.concat([first, second])
  for (let offset = 0; offset < all.length; offset += 65_536) messages.add(all.subarray(offset, offset + 65_536))
  expect(passed.map((bytes) => bytes.buffer.byteLength)).toEqual([first.length, second.length])
  expect(passed.map((bytes, i) => bytes.equals([first, second][i]!))).toEqual([true, true])
})

test('a length that no server sends is an error, and no memory', () => {
  for (const length of [0, 3, 0x40000000, 0xffffffff]) {
    const bytes = message(Buffer.alloc(10))
    bytes.writeUInt32BE(length, 1)
    expect(() => new WholeMessages(() => {}).add(bytes)).toThrow(`a message of ${length} bytes`)
  }
})

test('what listened to a stream gets whole messages from now on, and what is wrong is reported', () => {
  const stream = new PassThrough()
  const received: string[] = []
  stream.on('data', (bytes: Buffer) => received.push(bytes.toString('hex')))
  const errors: unknown[] = []
  receiveWholeMessages(stream, (error) => errors.push(error))
  const [a, b] = [message(Buffer.from('a')), message(Buffer.from('b'))]
  stream.emit('data', Buffer.concat([a, b.subarray(0, 3)]))
  stream.emit('data', b.subarray(3))
  expect(received).toEqual([a.toString('hex'), b.toString('hex')])
  stream.emit('data', Buffer.alloc(8))
  expect(errors).toMatchObject([{ code: 'ProtocolViolation' }])
})
