import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  keyRanges,
  pageRanges,
  rangeCondition,
  rangeCount,
  rangeMethod,
  type TableRange,
} from '../../../migration/load/table-range.ts'

const MB = 1024 ** 2

/** Every value is in exactly one range. */
function expectComplete(ranges: TableRange[]): void {
  expect(ranges[0]!.lower).toBeNull()
  expect(ranges.at(-1)!.upper).toBeNull()
  for (let i = 1; i < ranges.length; i++) {
    expect(ranges[i]!.lower).not.toBeNull()
    expect(ranges[i]!.lower).toBe(ranges[i - 1]!.upper)
  }
  const bounds = ranges.slice(1).map(({ lower }) => BigInt(lower!))
  expect(bounds.every((bound, i) => i === 0 || bound > bounds[i - 1]!)).toBe(true)
}

test('a table is cut so that each stream gets several ranges of a size that is worth it', () => {
  expect(rangeCount(100 * MB, 4)).toBe(1)
  expect(rangeCount(640 * MB, 4)).toBe(10)
  expect(rangeCount(4096 * MB, 4)).toBe(16)
  expect(rangeCount(1024 ** 2 * MB, 8)).toBe(1024)
  expect(rangeCount(100 * 1024 ** 2 * MB, 8)).toBe(2000)
  expect(rangeCount(640 * MB, 1)).toBe(1)
})

test('pages serve from PostgreSQL 14 on, an integer key before, and for what is no heap', () => {
  expect(rangeMethod({ heap: true, integerKey: 'id' }, 14)).toBe('pages')
  expect(rangeMethod({ heap: true, integerKey: 'id' }, 13)).toBe('key')
  expect(rangeMethod({ heap: false, integerKey: 'id' }, 17)).toBe('key')
  expect(rangeMethod({ heap: true, integerKey: null }, 13)).toBeUndefined()
})

test('ranges of pages and of keys leave no value out and have none twice, whatever the table looks like', () => {
  const int8 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
  fc.assert(
    fc.property(
      fc.nat(1_000_000),
      fc.integer({ min: 1, max: 50 }),
      fc.array(int8, { minLength: 2 }),
      (pages, n, values) => {
        const byPage = pageRanges(pages, n)
        expectComplete(byPage)
        expect(byPage).toHaveLength(Math.max(1, Math.min(n, pages)))
        const sorted = values.toSorted((a, b) => (a < b ? -1 : 1)).map(String)
        const statistics = { min: sorted[0]!, max: sorted.at(-1)! }
        for (const histogram of [[], sorted]) {
          const byKey = keyRanges({ ...statistics, histogram }, n)
          expectComplete(byKey)
          expect(byKey.length).toBeLessThanOrEqual(n)
        }
      },
    ),
  )
})

test('a histogram makes ranges of equally many rows, where values are not spread evenly', () => {
  const histogram = ['1', '2', '3', '4', '5', '6', '7', '8', '1000000']
  expect(keyRanges({ min: '1', max: '1000000', histogram }, 4).map(({ lower }) => lower)).toEqual([null, '3', '5', '7'])
  expect(keyRanges({ min: '0', max: '1000', histogram: [] }, 4).map(({ lower }) => lower)).toEqual([
    null,
    '250',
    '500',
    '750',
  ])
})

test('conditions are made of numbers and quoted names alone', () => {
  expect(rangeCondition('pages', null, { lower: '5', upper: '10' })).toBe(
    `ctid >= '(5,0)'::tid and ctid < '(10,0)'::tid`,
  )
  expect(rangeCondition('key', 'the "id"', { lower: null, upper: '-7' })).toBe(`"the ""id""" < '-7'::int8`)
  expect(rangeCondition('key', 'id', { lower: null, upper: null })).toBe('true')
  expect(() => rangeCondition('key', 'id', { lower: '1 or true', upper: null })).toThrow(SyntaxError)
})
