import { expect, test } from 'vitest'
import { BLOCK } from '../../../migration/replicate/apply/integer-blocks.ts'
import { nextBatch } from '../../../migration/verify/background-comparison.ts'
import { isKnownEqual } from '../../../migration/verify/choose-comparison.ts'
import { markedConditions, runs } from '../../../migration/verify/table-marks.ts'

const KEY = [{ name: 'id', type: 'bigint' }]

test('blocks that follow each other are read as ranges, others key by key, in pieces of some thousand rows', () => {
  expect(runs([1, 2, 3, 7, 8, 10], 2)).toEqual([[1, 2], [3], [7, 8], [10]])
  expect(runs([], 2)).toEqual([])
  const blocks = [
    ...Array.from({ length: 400 }, (_, i) => i - 1),
    ...Array.from({ length: 200 }, (_, i) => 1000 + i * 2),
  ]
  const conditions = markedConditions({ keys: [], blocks }, KEY)
  const ranges = conditions.filter(({ sql }) => sql.includes('<='))
  expect(ranges.map(({ values }) => values.map(Number))).toEqual([
    [155 * BLOCK - 1, -BLOCK],
    [311 * BLOCK - 1, 155 * BLOCK],
    [399 * BLOCK - 1, 311 * BLOCK],
  ])
  const single = conditions.filter(({ sql }) => !sql.includes('<='))
  expect(single.flatMap(({ values }) => values[0] as number[])).toEqual(blocks.slice(400))
  expect(single.length).toBe(2)
  const keys = Array.from({ length: 25_000 }, (_, i) => [String(i)])
  expect(markedConditions({ keys, blocks: [] }, KEY).length).toBe(3)
})

test('what was found equal counts only as long as the table is what it was and all changes are marked', () => {
  const state = { state: 'equal' as const, whole: false, definition: 'x' }
  expect(isKnownEqual(state, 'x')).toBe(true)
  expect(isKnownEqual(state, 'y')).toBe(false)
  expect(isKnownEqual(state, undefined)).toBe(false)
  expect(isKnownEqual({ ...state, whole: true }, 'x')).toBe(false)
  expect(isKnownEqual({ ...state, state: 'running' }, 'x')).toBe(false)
  expect(isKnownEqual({ ...state, definition: null }, undefined)).toBe(false)
})

test('changes of small tables are marked together, those of a big one when its turn comes', () => {
  const tables = (bytes: number[]) => bytes.map((size, i) => ({ schema: 's', name: `t${i}`, bytes: size }))
  expect(nextBatch(tables([1, 2, 3])).length).toBe(3)
  expect(nextBatch(tables([1, 2, 10 ** 9])).length).toBe(2)
  expect(nextBatch(tables([10 ** 9, 10 ** 9])).length).toBe(1)
  expect(nextBatch(tables(Array.from({ length: 2_000 }, () => 1))).length).toBe(500)
})
