import { expect, test } from 'vitest'
import { planBatches } from '../../../migration/verify/compare-tables.ts'

test('big tables go alone, the biggest first; small ones together, all of them once', () => {
  const tables = [
    ...Array.from({ length: 120 }, (_, n) => ({ name: `small${n}`, bytes: n })),
    { name: 'big', bytes: 5e6 },
    { name: 'bigger', bytes: 5e9 },
  ]
  const batches = planBatches(tables)
  expect(batches.map((batch) => batch.length)).toEqual([1, 1, 50, 50, 20])
  expect(batches[0]![0]!.name).toBe('bigger')
  expect(new Set(batches.flat()).size).toBe(tables.length)
})
