import { expect, test } from 'vitest'
import { readAhead } from '../../../migration/replicate/read-ahead.ts'

test('each time twice as many are chosen, up to the most, and never more than there are', () => {
  const choose = readAhead(5)
  const unread = Array.from({ length: 100 }, (_, n) => n)
  expect([0, 1, 2, 3, 4].map(() => choose(unread).length)).toEqual([0, 1, 3, 5, 5])
  expect(choose([7])).toEqual([7])
})
