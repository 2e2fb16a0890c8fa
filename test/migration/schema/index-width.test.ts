import { expect, test } from 'vitest'
import { indexWidth } from '../../../migration/schema/index-width.ts'

const LIMITS = { freeConnections: 90, sharedBuffersKb: 8 * 1024 * 1024, maintenanceWorkMemKb: 64 * 1024 }

test('as much as shared_buffers is shared out among the jobs of all databases', () => {
  expect(indexWidth(LIMITS, { indexJobs: undefined, databases: 1 })).toEqual({
    jobs: 4,
    maintenanceWorkMemKb: 2 * 1024 * 1024,
  })
  expect(indexWidth(LIMITS, { indexJobs: 8, databases: 2 })).toEqual({ jobs: 8, maintenanceWorkMemKb: 512 * 1024 })
})

test('the setting of the server is never lowered, and no job gets more than 2 GB', () => {
  expect(indexWidth({ ...LIMITS, sharedBuffersKb: 1024 }, { indexJobs: 2, databases: 1 }).maintenanceWorkMemKb).toBe(
    64 * 1024,
  )
  expect(indexWidth({ ...LIMITS, sharedBuffersKb: 2 ** 30 }, { indexJobs: 1, databases: 1 }).maintenanceWorkMemKb).toBe(
    2 * 1024 * 1024,
  )
})

test('half of the free connections are left to others, and one job there always is', () => {
  expect(indexWidth({ ...LIMITS, freeConnections: 6 }, { indexJobs: 8, databases: 1 }).jobs).toBe(3)
  expect(indexWidth({ ...LIMITS, freeConnections: 0 }, { indexJobs: 8, databases: 1 }).jobs).toBe(1)
})
