import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MessageSplitter } from '../../../migration/replicate/copy-both.ts'

function message(type: string, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(5 + body.length, type)
  bytes.writeUInt32BE(4 + body.length, 1)
  bytes.set(body, 5)
  return bytes
}

/** A splitter, and whole messages in the order in which they came out of it. */
function splitter(): { split: MessageSplitter; came: Buffer[]; copied: Buffer[] } {
  const came: Buffer[] = []
  const copied: Buffer[] = []
  const split = new MessageSplitter(
    ({ bytes, start, end }) => {
      for (let offset = start; offset < end;) {
        const next = offset + 1 + bytes.readUInt32BE(offset + 1)
        expect(next).toBeLessThanOrEqual(end)
        came.push(bytes.subarray(offset, next))
        offset = next
      }
    },
    (other) => {
      copied.push(other)
      came.push(other)
    },
  )
  return { split, came, copied }
}

test('however the bytes are cut, whole messages come out, in order and unchanged', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('d', 'd', 'd', 'E', 'Z'), fc.uint8Array({ maxLength: 40 }))),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (contents, cuts) => {
        const messages = contents.map(([type, body]) => message(type, body))
        const all = Buffer.concat(messages)
        const { split, came, copied } = splitter()
        for (let offset = 0, i = 0; offset < all.length; i++) {
          const end = offset + cuts[i % cuts.length]!
          split.push(Buffer.from(all.subarray(offset, end)))
          offset = end
        }
        expect(came.map((bytes) => bytes.toString('hex'))).toEqual(messages.map((bytes) => bytes.toString('hex')))
        expect(copied).toHaveLength(contents.filter(([type]) => type !== 'd').length)
      },
    ),
    { numRuns: 500 },
  )
})

test('a message in many pieces takes its own size of memory, and the next one does not touch it', () => {
  const { split, came } = splitter()
  const [first, second] = [message('d', Buffer.alloc(300_000, 'a')), message('d', Buffer.alloc(200_000, 'b'))]
  const all = Buffer.concat([first, second])
  for (let offset = 0; offset < all.length; offset += 65_536) split.push(all.subarray(offset, offset + 65_536))
  expect(came.map((bytes) => bytes.buffer.byteLength)).toEqual([first.length, second.length])
  expect(came.map((bytes, i) => bytes.equals([first, second][i]!))).toEqual([true, true])
})

test('messages that stand in one chunk are not copied', () => {
  const { split, came } = splitter()
  const chunk = Buffer.concat([message('d', Buffer.from('one')), message('d', Buffer.from('two'))])
  split.push(chunk)
  expect(came.map(({ buffer }) => buffer === chunk.buffer)).toEqual([true, true])
})

test('a length that no server sends is an error, and no memory', () => {
  for (const length of [0, 3, 0x7fffffff, 0xffffffff]) {
    const bytes = message('d', Buffer.alloc(10))
    bytes.writeUInt32BE(length, 1)
    const { split } = splitter()
    expect(() => split.push(bytes)).toThrow(`a message of ${length} bytes`)
  }
})
