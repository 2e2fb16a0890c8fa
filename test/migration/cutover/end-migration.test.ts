import { expect, test } from 'vitest'
import { sumUp } from '../../../migration/cutover/end-migration.ts'
import { newDatabaseStatus, type MigrationDatabaseState } from '../../../migration/model/status.ts'

function ended(database: string, migrationState: MigrationDatabaseState, message?: string) {
  return { ...newDatabaseStatus(database), phase: 'Ended' as const, migrationState, message }
}

test('one database that failed makes the migration a failed one, and is named', () => {
  expect(sumUp([ended('a', 'Succeeded'), ended('b', 'Failed', 'The slot is gone.')])).toEqual({
    state: 'Failed',
    message: 'b: The slot is gone.',
  })
})

test('a success among cancelled databases is a success', () => {
  expect(sumUp([ended('a', 'Succeeded'), ended('b', 'Canceled')])).toEqual({ state: 'Succeeded' })
  expect(sumUp([ended('a', 'Canceled'), ended('b', 'Canceled')])).toEqual({ state: 'Canceled' })
})

test('a database whose orchestration died without ending it counts as failed', () => {
  expect(sumUp([ended('a', 'Succeeded'), newDatabaseStatus('b')])).toMatchObject({
    state: 'Failed',
    message: expect.stringContaining('b:'),
  })
})
