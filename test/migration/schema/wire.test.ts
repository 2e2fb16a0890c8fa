import { expect, test } from 'vitest'
import { AnswerReader, frontendMessages, startupAnswer } from '../../../migration/schema/wire.ts'

/** A protocol message: type byte, length, body. */
function message(type: string, body = ''): Buffer<ArrayBuffer> {
  const text = Buffer.from(body)
  const length = Buffer.alloc(4)
  length.writeInt32BE(text.length + 4)
  return Buffer.concat([Buffer.from(type), length, text])
}

test('whole messages are passed on, the beginning of the next one waits, and Terminate is dropped', () => {
  const query = message('Q', 'select 1\0')
  const begun = message('P', 'half').subarray(0, 6)
  const bytes = Buffer.concat([query, message('X'), message('S'), begun])
  expect(frontendMessages(bytes, true)).toEqual({
    messages: Buffer.concat([query, message('S')]),
    answered: 2,
    rest: begun,
  })
})

test('the start-up packet has no type byte', () => {
  const packet = message('', '\0\u0003\0\0user\0me\0\0')
  expect(frontendMessages(Buffer.concat([packet, message('Q', '\0')]), false)).toMatchObject({ answered: 1 })
  expect(frontendMessages(packet.subarray(0, 3), false)).toMatchObject({ answered: 0, rest: packet.subarray(0, 3) })
})

test('an answer is complete with its last ReadyForQuery, however it is cut into chunks', () => {
  const answer = Buffer.concat([
    message('D', 'Z\0\0\0\u0005I'),
    message('Z', 'T'),
    message('C', 'x'),
    message('Z', 'T'),
  ])
  for (let size = 1; size <= answer.length; size++) {
    const reader = new AnswerReader(2)
    for (let at = 0; at < answer.length; at += size) {
      const chunk = answer.subarray(at, at + size)
      expect(reader.push(chunk), `chunks of ${size}, at ${at}`).toBe(at + size >= answer.length)
    }
    expect(Buffer.from(reader.bytes())).toEqual(answer)
  }
})

test('a client is told the parameters of the server, and that it may begin', () => {
  const answer = startupAnswer({ server_version: '13.4' })
  expect(Buffer.from(answer).toString('latin1')).toContain('server_version\0' + '13.4\0')
  expect(Buffer.from(answer.subarray(-6))).toEqual(message('Z', 'I'))
})
