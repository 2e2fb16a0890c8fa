import { expect, test } from 'vitest'
import { isOver } from '../../../../migration/replicate/schema-change/source-digests.ts'

test('a transaction is over in a snapshot that it is neither after nor listed in', () => {
  expect(isOver(99, '100:110:100,105')).toBe(true)
  expect(isOver(100, '100:110:100,105')).toBe(false)
  expect(isOver(101, '100:110:100,105')).toBe(true)
  expect(isOver(105, '100:110:100,105')).toBe(false)
  expect(isOver(110, '100:110:100,105')).toBe(false)
  expect(isOver(111, '100:110:')).toBe(false)
})

test('numbers of transactions begin anew after 32 bits', () => {
  const epoch = 5n << 32n
  const last = 0xffffffff
  expect(isOver(last, `${epoch}:${epoch + 10n}:`)).toBe(true)
  expect(isOver(last, `${epoch - 1n}:${epoch + 10n}:${epoch - 1n}`)).toBe(false)
  expect(isOver(3, `${epoch - 5n}:${epoch - 2n}:`)).toBe(false)
})
