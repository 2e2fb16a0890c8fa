import fc from 'fast-check'
import { expect, test } from 'vitest'
import { copyOutMessages } from '../../../migration/load/copy-out-messages.ts'

const message = (code: string, payload: Buffer | string = ''): Buffer => {
  const body = Buffer.from(payload)
  const header = Buffer.alloc(5)
  header.write(code)
  header.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

/** What the sink got, pieces of the same kind joined: `d` for rows, `c` for the end of one COPY, `o` for the rest. */
function taken(chunks: Buffer[], last: string): [string, string][] {
  const seen: [string, string][] = []
  const note = (kind: string, bytes: Buffer): void => {
    if (kind !== 'c' && seen.at(-1)?.[0] === kind) seen.at(-1)![1] += bytes.toString('latin1')
    else seen.push([kind, bytes.toString('latin1')])
  }
  let rest = ''
  const take = copyOutMessages({
    data: (payload) => note('d', payload),
    done: () => note('c', Buffer.alloc(0)),
    other(bytes) {
      note('o', bytes)
      rest += bytes.toString('latin1')
      return rest.endsWith(last)
    },
  })
  // Each chunk has its own memory, as those of a socket have.
  for (const chunk of chunks) take(Buffer.from(chunk))
  return seen
}

test('rows arrive whole and in order however the stream is cut, and everything else goes to the client', () => {
  const rows = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 30 })
  fc.assert(
    fc.property(fc.array(rows, { minLength: 1, maxLength: 4 }), fc.array(fc.nat(60)), (copies, cuts) => {
      const notice = message('N', 'SNOTICE\0\0')
      const ready = message('Z', 'I')
      const stream: Buffer[] = []
      const expected: [string, string][] = []
      for (const copy of copies) {
        stream.push(message('H', '\0\0\0'), ...copy.map((row) => message('d', Buffer.from(row))), message('c'))
        const data = copy.map((row) => Buffer.from(row).toString('latin1')).join('')
        if (data !== '') expected.push(['d', data])
        const complete = Buffer.concat([message('C', `COPY ${copy.length}\0`), notice])
        expected.push(['c', ''], ['o', complete.toString('latin1')])
        stream.push(complete)
      }
      stream.push(ready)
      expected.at(-1)![1] += ready.toString('latin1')
      const bytes = Buffer.concat(stream)
      const chunks: Buffer[] = []
      let from = 0
      for (const cut of cuts) {
        chunks.push(bytes.subarray(from, from + cut))
        from += cut
      }
      chunks.push(bytes.subarray(from))
      expect(taken(chunks, ready.toString('latin1'))).toEqual(expected)
    }),
  )
})

test('many small rows of a chunk are one piece, and a row larger than a chunk comes in pieces of it', () => {
  const pieces: string[] = []
  const take = copyOutMessages({ data: (payload) => pieces.push(payload.toString()), done() {}, other: () => false })
  take(Buffer.concat([message('d', 'one'), message('d', ''), message('d', 'two'), message('d', 'three')]))
  const large = message('d', 'x'.repeat(10))
  take(large.subarray(0, 8))
  take(large.subarray(8))
  expect(pieces).toEqual(['onetwothree', 'xxx', 'xxxxxxx'])
})

test('what follows the last message of a copy is the client’s, whatever it looks like', () => {
  const after = message('d', 'not a row of ours')
  expect(
    taken([Buffer.concat([message('c'), message('Z', 'I'), after])], message('Z', 'I').toString('latin1')),
  ).toEqual([
    ['c', ''],
    ['o', Buffer.concat([message('Z', 'I'), after]).toString('latin1')],
  ])
})
