import { expect, test } from 'vitest'
import { indexWidth } from '../../../migration/schema/index-width.ts'

const LIMITS = { freeConnections: 90, sharedBuffersKb: 8 * 1024 * 1024, maintenanceWorkMemKb: 64 * 1024 }

test('half of shared_buffers is shared out among the jobs', () => {
  expect(indexWidth(LIMITS, undefined)).toEqual({ jobs: 4, maintenanceWorkMemKb: 1024 * 1024 })
  expect(indexWidth(LIMITS, 8)).toEqual({ jobs: 8, maintenanceWorkMemKb: 512 * 1024 })
})

test('the setting of the server is never lowered, and no job gets more than 2 GB', () => {
  expect(indexWidth({ ...LIMITS, sharedBuffersKb: 1024 }, 2).maintenanceWorkMemKb).toBe(64 * 1024)
  expect(indexWidth({ ...LIMITS, sharedBuffersKb: 2 ** 30 }, 1).maintenanceWorkMemKb).toBe(2 * 1024 * 1024)
})

test('half of the free connections are left to others, and one job there always is', () => {
  expect(indexWidth({ ...LIMITS, freeConnections: 6 }, 8).jobs).toBe(3)
  expect(indexWidth({ ...LIMITS, freeConnections: 0 }, 8).jobs).toBe(1)
})
