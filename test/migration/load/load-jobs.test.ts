import { expect, test } from 'vitest'
import { chooseCopyJobs } from '../../../migration/load/load-jobs.ts'

const AMPLE = { targetMaxConnections: 400, freeSlots: 20, batches: 100 }

test('four jobs unless something speaks against it', () => {
  expect(chooseCopyJobs(AMPLE)).toBe(4)
})

test('the number that the user asked for, within the limits of the servers', () => {
  expect(chooseCopyJobs({ ...AMPLE, requested: 12 })).toBe(12)
  expect(chooseCopyJobs({ ...AMPLE, requested: 64 })).toBe(18)
  expect(chooseCopyJobs({ ...AMPLE, requested: 64, freeSlots: undefined, targetMaxConnections: 600 })).toBe(64)
})

test('as many as the source has CPUs, at most eight', () => {
  expect(chooseCopyJobs({ ...AMPLE, sourceCores: 2 })).toBe(2)
  expect(chooseCopyJobs({ ...AMPLE, sourceCores: 64 })).toBe(8)
})

test('two replication slots stay free', () => {
  expect(chooseCopyJobs({ ...AMPLE, freeSlots: 5 })).toBe(3)
})

test('no more than there are batches', () => {
  expect(chooseCopyJobs({ ...AMPLE, batches: 2 })).toBe(2)
})

test('at most half of the connections of a small server', () => {
  expect(chooseCopyJobs({ ...AMPLE, targetMaxConnections: 24 })).toBe(3)
  expect(chooseCopyJobs({ ...AMPLE, sourceMaxConnections: 12 })).toBe(3)
})

test('one at least, also when no slot is free, nothing is left to do or the servers are tiny', () => {
  expect(chooseCopyJobs({ ...AMPLE, freeSlots: 0 })).toBe(1)
  expect(chooseCopyJobs({ ...AMPLE, batches: 0 })).toBe(1)
  expect(chooseCopyJobs({ targetMaxConnections: 5, freeSlots: 1, batches: 9 })).toBe(1)
})

test('more on servers that allow themselves more worker processes, fewer on small ones', () => {
  expect(chooseCopyJobs({ ...AMPLE, workerProcesses: 8 })).toBe(4)
  expect(chooseCopyJobs({ ...AMPLE, workerProcesses: 64 })).toBe(8)
  expect(chooseCopyJobs({ ...AMPLE, workerProcesses: 4 })).toBe(2)
})
