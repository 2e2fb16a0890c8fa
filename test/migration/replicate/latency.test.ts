import { expect, test } from 'vitest'
import { latencySeconds } from '../../../migration/replicate/latency.ts'

const sample = { flushLsn: 1000n, time: 60_000 }

test('latency is 0 when the place of the source has been reached, and only then', () => {
  const inputs = { sample, oldestPendingCommit: undefined, caughtUpAt: 59_000 }
  expect(latencySeconds({ ...inputs, position: 1000n })).toBe(0)
  expect(latencySeconds({ ...inputs, position: 999n })).toBe(1)
})

test('the oldest commit that has arrived and is not applied tells exactly', () => {
  const inputs = { sample, position: 999n, caughtUpAt: 0 }
  expect(latencySeconds({ ...inputs, oldestPendingCommit: 57_500 })).toBe(2.5)
  // Committed after the sample was taken: at that time nothing was missing.
  expect(latencySeconds({ ...inputs, oldestPendingCommit: 60_100 })).toBe(0)
})

test('latency is not known before the target has had everything once', () => {
  expect(
    latencySeconds({ sample, position: 1n, oldestPendingCommit: undefined, caughtUpAt: undefined }),
  ).toBeUndefined()
})
