import { expect, test } from 'vitest'
import { LARGE_BYTES, walLevel, walWarning } from '../../../migration/replicate/retained-wal.ts'

const GB = 1024 ** 3

test.each([
  [{ walStatus: 'reserved', retainedBytes: 0 }, 'fine'],
  [{ walStatus: 'extended', retainedBytes: 2 * GB }, 'extended'],
  [{ walStatus: 'extended', retainedBytes: LARGE_BYTES }, 'extended'],
  [{ walStatus: 'extended', retainedBytes: LARGE_BYTES + 1 }, 'unlimited'],
  [{ walStatus: 'extended', retainedBytes: 90 * GB, limitBytes: 200 * GB, safeWalBytes: 110 * GB }, 'extended'],
  [{ walStatus: 'extended', retainedBytes: 151 * GB, limitBytes: 200 * GB, safeWalBytes: 49 * GB }, 'scarce'],
  [{ walStatus: 'unreserved', retainedBytes: 201 * GB, limitBytes: 200 * GB, safeWalBytes: -GB }, 'unreserved'],
])('%o is %s', (facts, level) => {
  expect(walLevel(facts)).toBe(level)
})

test('each level has words of its own, with what to do, and none when all is well', () => {
  expect(walWarning('fine', 's')).toBeUndefined()
  const texts = (['extended', 'unlimited', 'scarce', 'unreserved'] as const).map((level) => walWarning(level, 's')!)
  expect(new Set(texts).size).toBe(4)
  for (const text of texts) expect(text).toMatch(/select /)
})
