import { expect, test } from 'vitest'
import { EventType, stamp, type Message } from '../../host/history.ts'
import type { InboxEntry } from '../../host/store.ts'
import { takeBatch } from '../../host/take-batch.ts'

const at = stamp(new Date(0))
const raised = (Name: string): Message => ({ ...at, EventType: EventType.EventRaised, Name, Input: null })
const suspend: Message = { ...at, EventType: EventType.ExecutionSuspended, Reason: null }
const resume: Message = { ...at, EventType: EventType.ExecutionResumed, Reason: null }
const terminate: Message = { ...at, EventType: EventType.ExecutionTerminated, Input: '"over"' }

const inbox = (...messages: (Message | [Message, string])[]): InboxEntry[] =>
  messages.map((entry, index) =>
    Array.isArray(entry)
      ? { seq: index, message: entry[0], executionId: entry[1] }
      : { seq: index, message: entry, executionId: null },
  )
const running = { executionId: 'now', status: 'Running' } as const
const suspended = { executionId: 'now', status: 'Suspended' } as const

test('a running instance takes everything, in order', () => {
  const [a, b] = [raised('a'), raised('b')]
  expect(takeBatch(inbox(a, b), running)).toEqual({ messages: [a, b], consumed: [0, 1], suspended: false })
})

test('messages for an earlier generation are dropped', () => {
  const [old, current] = [raised('old'), raised('current')]
  const batch = takeBatch(inbox([old, 'before'], [current, 'now']), running)
  expect(batch).toMatchObject({ messages: [current], consumed: [0, 1] })
})

test('a suspended instance leaves its messages where they are', () => {
  expect(takeBatch(inbox(raised('a')), suspended)).toEqual({ messages: [], consumed: [], suspended: true })
  expect(takeBatch(inbox(suspend, raised('a')), running)).toMatchObject({ messages: [suspend], suspended: true })
})

test('what was withheld follows the resumption in its old order', () => {
  const [a, b, c] = [raised('a'), raised('b'), raised('c')]
  expect(takeBatch(inbox(a, b, resume, c), suspended)).toEqual({
    messages: [resume, a, b, c],
    consumed: [2, 0, 1, 3],
    suspended: false,
  })
})

test('a termination takes effect on a suspended instance as well, and ends the batch', () => {
  expect(takeBatch(inbox(raised('a'), terminate, raised('b')), suspended)).toMatchObject({
    messages: [terminate],
    terminated: terminate,
  })
})
