import { expect, test } from 'vitest'
import { loadStatus, type LoadSums } from '../../../migration/load/load-status.ts'

const NOW = new Date('2030-01-01T00:00:00Z')
const HALF: LoadSums = {
  queued: 1,
  loading: 1,
  completed: 1,
  errored: 0,
  rowsDone: 50,
  rowsTotal: 100,
  bytesDone: 500,
  bytesTotal: 1000,
  elapsedSeconds: 60,
}

test('what is left takes as long as what is done', () => {
  expect(loadStatus(HALF, NOW)).toEqual({
    tables: { queued: 1, loading: 1, completed: 1, errored: 0 },
    progress: {
      rowsDone: 50,
      rowsTotal: 100,
      bytesDone: 500,
      bytesTotal: 1000,
      estimatedEnd: '2030-01-01T00:01:00.000Z',
    },
  })
})

test.each([
  ['in the first seconds', { elapsedSeconds: 2 }],
  ['before the first byte', { bytesDone: 0 }],
  ['when nothing is left to copy', { queued: 0, loading: 0 }],
])('no end is estimated %s', (_when, change) => {
  expect(loadStatus({ ...HALF, ...change }, NOW).progress.estimatedEnd).toBeUndefined()
})
