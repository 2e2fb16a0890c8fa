import { expect, test } from 'vitest'
import { takeNextCopies, type QueuedCopy } from '../../../migration/load/next-copies.ts'

function queue(count: number, copy: Partial<QueuedCopy> = {}): QueuedCopy[] {
  return Array.from(
    { length: count },
    (_, n) => ({ table: { name: `t${n}` }, ranges: 1, bytes: 1000, ...copy }) as QueuedCopy,
  )
}

test('small tables are taken together, as many as are worth it, and no more than locks allow', () => {
  const many = queue(130)
  expect([1, 2, 3, 4].map(() => takeNextCopies(many).length)).toEqual([50, 50, 30, 0])
  const few = queue(9)
  expect(takeNextCopies(few)).toHaveLength(1)
  expect(few).toHaveLength(8)
})

test('a group ends before a table that is large, is copied in ranges, or was in a group that failed', () => {
  const tail = queue(20)
  expect(takeNextCopies([...queue(12), ...queue(1, { bytes: 1024 ** 2 }), ...tail])).toHaveLength(12)
  expect(takeNextCopies([...queue(12), ...queue(1, { ranges: 2 }), ...tail])).toHaveLength(12)
  expect(takeNextCopies([...queue(12), ...queue(1, { alone: true }), ...tail])).toHaveLength(12)
  expect(takeNextCopies([...queue(1, { alone: true }), ...tail])).toHaveLength(1)
})

test('a group holds a bounded number of bytes', () => {
  expect(takeNextCopies(queue(50, { bytes: 1_000_000 }))).toHaveLength(16)
})
