import fc from 'fast-check'
import { expect, test } from 'vitest'
import { planBatches } from '../../../migration/load/plan-batches.ts'

const MB = 1024 ** 2

test('10,000 small tables need some tens of batches', () => {
  const tables = Array.from({ length: 10_000 }, () => ({ bytes: 16_384 }))
  expect(planBatches(tables, { jobs: 4 })).toHaveLength(40)
})

test('a big table is alone and comes first', () => {
  const tables = [{ bytes: 10 }, { bytes: 500 * MB }, { bytes: 20 }, { bytes: 100 * MB }]
  expect(planBatches(tables, { jobs: 4 })).toEqual([
    [{ bytes: 500 * MB }],
    [{ bytes: 100 * MB }],
    [{ bytes: 20 }, { bytes: 10 }],
  ])
})

test('a small database of tables of moderate size keeps all jobs busy', () => {
  const tables = Array.from({ length: 40 }, () => ({ bytes: 1.5 * MB }))
  expect(planBatches(tables, { jobs: 4 }).length).toBeGreaterThanOrEqual(8)
})

test('no tables, no batches', () => {
  expect(planBatches([], { jobs: 4 })).toEqual([])
})

test('every table is in exactly one batch, batches are bounded and go from big to small', () => {
  const table = fc.record({ bytes: fc.oneof(fc.nat(20_000), fc.nat(200 * MB), fc.constant(0)) })
  fc.assert(
    fc.property(fc.array(table, { maxLength: 1_000 }), fc.integer({ min: 1, max: 32 }), (tables, jobs) => {
      const batches = planBatches(tables, { jobs })
      expect(new Set(batches.flat()).size).toBe(new Set(tables).size)
      expect(batches.flat()).toHaveLength(tables.length)
      const sizes = batches.flat().map(({ bytes }) => bytes)
      expect(sizes).toEqual(sizes.toSorted((a, b) => b - a))
      for (const batch of batches) {
        const bytes = batch.reduce((sum, each) => sum + each.bytes, 0)
        expect(batch.length).toBeLessThanOrEqual(250)
        expect(batch.length === 1 || bytes <= 64 * MB).toBe(true)
      }
    }),
  )
})
