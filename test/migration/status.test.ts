import { describe, expect, it } from 'vitest'
import type { DatabaseStatus, ServerStatus } from '../../migration/model/status.ts'
import { databaseActions, databaseState, deriveState } from '../../migration/status.ts'
import { database, record, server, waiting } from './model/example.ts'

const online = record()
const queued = [database('a'), database('b')]
const copying = database('a', { phase: 'CopyingData' })
const ended = (name: string, migrationState: DatabaseStatus['migrationState'], message?: string): DatabaseStatus =>
  database(name, { phase: 'Ended', migrationState, message })

describe('the state of a migration', () => {
  it.each<[string, Partial<ServerStatus>, DatabaseStatus[], string, string]>([
    ['just created', { phase: 'Queued' }, queued, 'InProgress', 'PerformingPreRequisiteSteps'],
    ['waiting without a reason', { phase: 'Waiting' }, queued, 'InProgress', 'PerformingPreRequisiteSteps'],
    ['validating', { phase: 'Validating' }, queued, 'InProgress', 'ValidationInProgress'],
    ['copying parameters', { phase: 'CopyingParameters' }, queued, 'InProgress', 'PerformingPreRequisiteSteps'],
    ['migrating, nothing begun', {}, queued, 'InProgress', 'MigratingData'],
    ['copying', {}, [copying, database('b')], 'InProgress', 'MigratingData'],
    ['building indexes', {}, [database('a', { phase: 'BuildingIndexes' })], 'InProgress', 'MigratingData'],
    ['catching up', {}, [database('a', { phase: 'Following' })], 'InProgress', 'MigratingData'],
    ['one waits, one copies', {}, [copying, waiting('b')], 'InProgress', 'MigratingData'],
    ['all wait', {}, [waiting('a'), waiting('b')], 'WaitingForUserAction', 'WaitingForCutoverTrigger'],
    [
      'one waits, the other has failed',
      {},
      [ended('a', 'Failed'), waiting('b')],
      'WaitingForUserAction',
      'WaitingForCutoverTrigger',
    ],
    [
      'one waits, the other is cut over',
      {},
      [database('a', { phase: 'CuttingOver' }), waiting('b')],
      'InProgress',
      'CompletingMigration',
    ],
    [
      'one copies, the other is cut over',
      {},
      [copying, database('b', { phase: 'CuttingOver' })],
      'InProgress',
      'MigratingData',
    ],
    [
      'cleaning up',
      {},
      [database('a', { phase: 'CleaningUp' }), ended('b', 'Succeeded')],
      'CleaningUp',
      'CompletingMigration',
    ],
    [
      'all ended, and the secrets are not deleted yet',
      {},
      [ended('a', 'Succeeded'), ended('b', 'Failed')],
      'CleaningUp',
      'CompletingMigration',
    ],
    [
      'all succeeded',
      { phase: 'Ended', outcome: 'Succeeded' },
      [ended('a', 'Succeeded'), ended('b', 'Succeeded')],
      'Succeeded',
      'Completed',
    ],
    [
      'all failed',
      { phase: 'Ended', outcome: 'Failed' },
      [ended('a', 'Failed'), ended('b', 'Failed')],
      'Failed',
      'Completed',
    ],
    [
      'one failed',
      { phase: 'Ended', outcome: 'Failed' },
      [ended('a', 'Succeeded'), ended('b', 'Failed')],
      'Failed',
      'Completed',
    ],
    [
      'all cancelled',
      { phase: 'Ended', outcome: 'Canceled' },
      [ended('a', 'Canceled'), ended('b', 'Canceled')],
      'Canceled',
      'Completed',
    ],
    [
      'one cancelled',
      { phase: 'Ended', outcome: 'Succeeded' },
      [ended('a', 'Canceled'), ended('b', 'Succeeded')],
      'Succeeded',
      'Completed',
    ],
    ['validation failed', { phase: 'Ended', outcome: 'ValidationFailed' }, queued, 'ValidationFailed', 'Completed'],
    ['cancelled before it began', { phase: 'Ended', outcome: 'Canceled' }, queued, 'Canceled', 'Completed'],
    ['failed before it began', { phase: 'Ended', outcome: 'Failed', error: 'No way.' }, queued, 'Failed', 'Completed'],
    ['ended without a word', { phase: 'Ended' }, queued, 'Failed', 'Completed'],
  ])('%s', (_what, status, databases, state, currentSubState) => {
    expect(deriveState(online, server(status), databases)).toMatchObject({ state, currentSubState })
  })

  it.each([
    ['WaitingForLogicalReplicationSetupRequestOnSourceDB', 'setupLogicalReplicationOnSourceDbIfNeeded'],
    ['WaitingForDBsToMigrateSpecification', 'dbsToMigrate'],
    ['WaitingForTargetDBOverwriteConfirmation', 'overwriteDbsInTarget'],
    ['WaitingForDataMigrationScheduling', 'startDataMigration'],
    ['WaitingForDataMigrationWindow', 'startDataMigration'],
  ] as const)('%s asks the user for %s', (waitingFor, action) => {
    expect(deriveState(online, server({ phase: 'Waiting', waitingFor }), queued)).toEqual({
      state: 'WaitingForUserAction',
      currentSubState: waitingFor,
      actions: ['cancel', action],
    })
  })

  it('of a validation alone comes from the server, not from the databases', () => {
    const validate = record({ migrationOption: 'Validate' })
    const validated = server({ phase: 'Ended', outcome: 'Succeeded' })
    expect(deriveState(validate, validated, queued)).toEqual({
      state: 'Succeeded',
      currentSubState: 'Completed',
      actions: [],
    })
    expect(deriveState(validate, server({ phase: 'Validating' }), queued).currentSubState).toBe('ValidationInProgress')
  })

  it('is cancelling once every database that has not ended is asked to be cancelled', () => {
    const at = '2026-11-22T09:00:00.000Z'
    const one = { ...online, requests: { cutover: {}, cancel: { a: { at } } } }
    const all = { ...online, requests: { cutover: {}, cancel: { a: { at }, b: { at } } } }
    expect(deriveState(one, server(), [copying, waiting('b')]).currentSubState).toBe('WaitingForCutoverTrigger')
    expect(deriveState(one, server(), [copying, ended('b', 'Failed')]).currentSubState).toBe(
      'CancelingRequestedDBMigrations',
    )
    expect(deriveState(all, server(), [copying, waiting('b')])).toEqual({
      state: 'InProgress',
      currentSubState: 'CancelingRequestedDBMigrations',
      actions: [],
    })
    expect(
      deriveState(all, server({ phase: 'Waiting', waitingFor: 'WaitingForDataMigrationWindow' }), queued),
    ).toMatchObject({
      currentSubState: 'CancelingRequestedDBMigrations',
    })
  })

  it('is completing as soon as the cutover is stored, before the work has noticed', () => {
    const asked = { at: '2026-11-22T09:00:00.000Z', force: false }
    const one = { ...online, requests: { cancel: {}, cutover: { a: asked, b: asked } } }
    expect(deriveState(one, server(), [waiting('a'), waiting('b')])).toEqual({
      state: 'InProgress',
      currentSubState: 'CompletingMigration',
      actions: ['cancel'],
    })
  })

  it('names the databases that failed, and why', () => {
    const databases = [ended('a', 'Succeeded'), ended('b', 'Failed', 'Slot lost.')]
    expect(deriveState(online, server({ outcome: 'Failed' }), databases).error).toBe('b: Slot lost.')
    expect(deriveState(online, server({ outcome: 'Failed', error: 'b: Slot lost.' }), databases).error).toBe(
      'b: Slot lost.',
    )
    expect(deriveState(online, server({ outcome: 'Succeeded' }), databases).error).toBeUndefined()
  })
})

describe('the actions on a database', () => {
  it('are those that would be accepted now', () => {
    expect(databaseActions(online, copying)).toEqual(['cancel'])
    expect(databaseActions(online, waiting('a'))).toEqual(['cutover', 'cancel'])
    expect(databaseActions(online, waiting('a', { latencySeconds: 31 }))).toEqual(['cancel'])
    expect(databaseActions(online, ended('a', 'Succeeded'))).toEqual([])
    expect(databaseActions(record({ migrationMode: 'Offline' }), waiting('a'))).toEqual(['cancel'])
  })

  it('follow what is stored but not noticed yet', () => {
    const canceled = { ...online, requests: { cutover: {}, cancel: { a: { at: '' } } } }
    expect(databaseState(canceled, copying)).toBe('Canceling')
    expect(databaseActions(canceled, copying)).toEqual([])
    expect(databaseState(canceled, ended('a', 'Succeeded'))).toBe('Succeeded')
  })
})

it('a database may have the name of a method', () => {
  const odd = record({ dbsToMigrate: ['constructor', 'toString'] })
  const databases = [waiting('constructor'), waiting('toString')]
  expect(databases.map((one) => databaseState(odd, one))).toEqual([
    'WaitingForCutoverTrigger',
    'WaitingForCutoverTrigger',
  ])
})
