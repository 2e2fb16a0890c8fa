import { expect, test } from 'vitest'
import { lastRecordEnd, latencySeconds } from '../../../migration/replicate/latency.ts'

const mark = { lsn: 1000n, time: 60_000 }

test('latency is 0 when the mark has been reached, and only then', () => {
  const inputs = { mark, oldestPendingCommit: undefined, caughtUpAt: 59_000 }
  expect(latencySeconds({ ...inputs, position: 1000n })).toBe(0)
  expect(latencySeconds({ ...inputs, position: 999n })).toBe(1)
})

test('the oldest commit that has arrived and is not applied tells exactly', () => {
  const inputs = { mark, position: 999n, caughtUpAt: 0 }
  expect(latencySeconds({ ...inputs, oldestPendingCommit: 57_500 })).toBe(2.5)
  // Committed after the mark was taken: at that time nothing was missing.
  expect(latencySeconds({ ...inputs, oldestPendingCommit: 60_100 })).toBe(0)
})

test('latency is not known before the target has had everything once', () => {
  expect(latencySeconds({ mark, position: 1n, oldestPendingCommit: undefined, caughtUpAt: undefined })).toBeUndefined()
})

test('behind the header of a page or a segment that has just begun, the last record ends before the header', () => {
  const [block, segment] = [8192n, 16n * 1024n ** 2n]
  expect(lastRecordEnd(segment * 3n + block * 2n + 24n, block, segment)).toBe(segment * 3n + block * 2n)
  expect(lastRecordEnd(segment * 3n + 40n, block, segment)).toBe(segment * 3n)
  // A record may well end there on another page.
  expect(lastRecordEnd(segment * 3n + block + 40n, block, segment)).toBe(segment * 3n + block + 40n)
  expect(lastRecordEnd(segment * 3n + 1000n, block, segment)).toBe(segment * 3n + 1000n)
})
