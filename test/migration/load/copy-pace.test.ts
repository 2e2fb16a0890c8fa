import fc from 'fast-check'
import { expect, test } from 'vitest'
import { copyPace } from '../../../migration/load/copy-pace.ts'

test('without a limit nobody waits', () => {
  expect(copyPace(undefined)(1e12)).toBe(0)
})

test('streams that obey stay below the rate together, and come close to it', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 100_000, max: 100_000_000 }),
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1000, max: 65_536 }),
      (rate, streams, piece) => {
        let clock = 0
        const pace = copyPace(rate, () => clock)
        const ready = Array.from({ length: streams }, () => 0)
        let bytes = 0
        while (clock < 20_000 && bytes < 2000 * piece) {
          // The stream that may go on first; the servers are infinitely fast.
          const next = ready.indexOf(Math.min(...ready))
          clock = Math.max(clock, ready[next]!)
          bytes += piece
          ready[next] = clock + pace(piece)
        }
        const end = Math.max(...ready)
        // What is saved up at the beginning, and the last piece of each stream, don't count.
        const slack = rate * 0.25 + streams * piece
        expect(bytes).toBeLessThanOrEqual((rate * end) / 1000 + slack)
        expect(bytes).toBeGreaterThanOrEqual((rate * clock) / 1000 - slack)
      },
    ),
  )
})

test('a stream that was silent does not catch up', () => {
  let clock = 0
  const pace = copyPace(1000, () => clock)
  clock = 3_600_000
  expect(pace(1000)).toBeCloseTo(900)
})
