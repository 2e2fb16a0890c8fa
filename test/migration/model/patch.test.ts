import { describe, expect, it } from 'vitest'
import { MigrationError } from '../../../migration/errors.ts'
import { applyPatch, type Patched } from '../../../migration/model/patch.ts'
import type { MigrationRecord } from '../../../migration/model/record.ts'
import { parsePatch } from '../../../migration/model/resource.ts'
import type { DatabaseStatus, ServerStatus } from '../../../migration/model/status.ts'
import { database, record, server, waiting } from './example.ts'

const NOW = new Date('2026-11-22T09:00:00Z')
const AT = NOW.toISOString()
const both = [waiting('a'), waiting('b')]
const failed = database('b', { phase: 'Ended', migrationState: 'Failed' })

interface Situation {
  of?: MigrationRecord
  status?: Partial<ServerStatus>
  databases?: DatabaseStatus[]
}

function patch(
  properties: Record<string, unknown>,
  { of = record(), status = {}, databases = both }: Situation = {},
): Patched {
  return applyPatch(of, parsePatch({ properties }), server(status), databases, NOW)
}

function refusal(properties: Record<string, unknown>, situation: Situation = {}): { code: string; message: string } {
  try {
    patch(properties, situation)
  } catch (error) {
    if (error instanceof MigrationError) return { code: error.code, message: `${error.message} ${error.hint ?? ''}` }
    throw error
  }
  return { code: 'accepted', message: '' }
}

describe('triggerCutover', () => {
  it('is stored for every database, and wakes the orchestration', () => {
    const { record: stored, events } = patch({ triggerCutover: 'True' })
    expect(stored.requests.cutover).toEqual({ a: { at: AT, force: false }, b: { at: AT, force: false } })
    expect(events).toEqual([{ name: 'Cutover', data: { databases: ['a', 'b'] } }])
  })

  it('is stored for the named databases only', () => {
    expect(patch({ triggerCutover: 'True', dbsToTriggerCutoverOn: ['b'] }).record.requests.cutover).toEqual({
      b: { at: AT, force: false },
    })
  })

  it('asked for twice is asked for once, and wakes again', () => {
    const first = patch({ triggerCutover: 'True' }).record
    const again = patch(
      { triggerCutover: 'True' },
      { of: first, databases: [database('a', { phase: 'CuttingOver' }), waiting('b')] },
    )
    expect(again.record.requests).toEqual(first.requests)
    expect(again.events).toEqual([{ name: 'Cutover', data: { databases: ['a', 'b'] } }])
  })

  it('leaves what else was asked for as it is', () => {
    const { requests } = record()
    const of = {
      ...record(),
      requests: { ...requests, verify: { a: { at: AT } }, fallback: { b: { action: 'end' as const, at: AT } } },
    }
    expect(patch({ triggerCutover: 'True' }, { of }).record.requests).toMatchObject({
      verify: { a: { at: AT } },
      fallback: { b: { action: 'end', at: AT } },
    })
  })

  it('False asks for nothing', () => {
    expect(patch({ triggerCutover: 'False' })).toEqual({ record: record(), events: [] })
  })

  it('leaves out what has ended, also when all databases are named as old clients do', () => {
    for (const list of [{}, { dbsToTriggerCutoverOn: ['a', 'b'] }]) {
      const { record: stored } = patch({ triggerCutover: 'True', ...list }, { databases: [waiting('a'), failed] })
      expect(Object.keys(stored.requests.cutover)).toEqual(['a'])
    }
  })

  it.each<[string, Record<string, unknown>, Situation, string, RegExp]>([
    ['an unknown database', { dbsToTriggerCutoverOn: ['x'] }, {}, 'InvalidInput', /"x" is not a database.* a, b\./],
    ['an Offline migration', {}, { of: record({ migrationMode: 'Offline' }) }, '603114', /Offline/],
    [
      'a database that has ended',
      { dbsToTriggerCutoverOn: ['b'] },
      { databases: [waiting('a'), failed] },
      '603113',
      /"b" Failed/,
    ],
    [
      'a migration that has ended',
      {},
      { databases: [failed, database('a', { migrationState: 'Succeeded' })] },
      '603113',
      /"a" Succeeded/,
    ],
    [
      'a database that is copied',
      {},
      {
        databases: [
          waiting('a'),
          database('b', { phase: 'CopyingData', tables: { queued: 1, loading: 1, completed: 2, errored: 0 } }),
        ],
      },
      'CutoverNotReady',
      /"b" is being copied \(2 of 4 tables\).*dbsToTriggerCutoverOn: a/,
    ],
    [
      'a latency above the limit',
      {},
      { databases: [waiting('a', { latencySeconds: 31 }), waiting('b')] },
      'LatencyTooHigh',
      /"a" 31 s.*30 s/,
    ],
  ])('is refused for %s', (_what, properties, situation, code, message) => {
    const refused = refusal({ triggerCutover: 'True', ...properties }, situation)
    expect(refused.code).toBe(code)
    expect(refused.message).toMatch(message)
  })

  it('is forced over the latency, not over the copy', () => {
    const slow = { databases: [waiting('a', { latencySeconds: 99 }), waiting('b')] }
    const force = { triggerCutover: 'True', pgflex: { force: true } }
    expect(patch(force, slow).record.requests.cutover['a']).toEqual({ at: AT, force: true })
    expect(refusal(force, { databases: [database('a', { phase: 'CopyingData' }), waiting('b')] }).code).toBe(
      'CutoverNotReady',
    )
  })

  it('obeys a limit that comes with it', () => {
    const slow = { databases: [waiting('a', { latencySeconds: 40 }), waiting('b')] }
    expect(refusal({ triggerCutover: 'True', pgflex: { maxLatencySecondsForCutover: 60 } }, slow).code).toBe('accepted')
  })
})

describe('cancel', () => {
  it('is stored for every database, and wakes whatever waits', () => {
    const { record: stored, events } = patch({ cancel: 'True' })
    expect(stored.requests.cancel).toEqual({ a: { at: AT }, b: { at: AT } })
    expect(events.map(({ name }) => name)).toEqual(['Cancel', 'Changed'])
  })

  it('may name databases', () => {
    expect(Object.keys(patch({ cancel: 'True', dbsToCancelMigrationOn: ['a'] }).record.requests.cancel)).toEqual(['a'])
  })

  it('asked for again after it is done changes nothing', () => {
    const done = { phase: 'Ended', outcome: 'Canceled' } as const
    expect(patch({ cancel: 'True' }, { status: done }).record.requests.cancel).toEqual({})
  })

  it('is refused for what has ended otherwise', () => {
    expect(refusal({ cancel: 'True' }, { status: { phase: 'Ended', outcome: 'Succeeded' } }).code).toBe(
      'MigrationEnded',
    )
    expect(refusal({ cancel: 'True', dbsToCancelMigrationOn: ['b'] }, { databases: [waiting('a'), failed] }).code).toBe(
      '603113',
    )
    expect(refusal({ cancel: 'True', dbsToCancelMigrationOn: ['x'] }).code).toBe('InvalidInput')
  })
})

describe('a change of properties', () => {
  it('is stored, and wakes the orchestration', () => {
    const { record: stored, events } = patch({
      overwriteDbsInTarget: 'True',
      startDataMigration: true,
      migrationWindowStartTimeInUtc: '2027-01-01T00:00:00Z',
      pgflex: { verify: 'Counts' },
    })
    expect(stored.properties).toMatchObject({
      overwriteDbsInTarget: true,
      startDataMigration: true,
      migrationWindowStartTimeInUtc: '2027-01-01T00:00:00.000Z',
      pgflex: { verify: 'Counts', writeFreeze: 'Automatic' },
    })
    expect(events).toEqual([{ name: 'Changed', data: {} }])
  })

  it('moves the source; the user stays unless the new address names one', () => {
    expect(patch({ sourceDbServerFullyQualifiedDomainName: 'new.example.com' }).record.source).toEqual({
      host: 'new.example.com',
      port: 5433,
      user: 'migrator',
    })
    expect(patch({ sourceDbServerResourceId: 'other:1@me' }).record.source).toEqual({
      host: 'other',
      port: 1,
      user: 'me',
    })
    expect(refusal({ sourceDbServerResourceId: 'nonsense here' }).code).toBe('InvalidInput')
  })

  it('rotates users and passwords without a trace of them in the record', () => {
    const secretParameters = { adminCredentials: { sourceServerPassword: 's3cr3t' }, targetServerUsername: 'other' }
    const { record: stored, events } = patch({ secretParameters })
    expect(stored.target.user).toBe('other')
    expect(JSON.stringify(stored)).not.toContain('s3cr3t')
    expect(events).toEqual([{ name: 'Changed', data: {} }])
  })

  it('of tags alone wakes nobody, and is possible after the end', () => {
    const ended = server({ phase: 'Ended', outcome: 'Failed' })
    const patched = applyPatch(record(), parsePatch({ tags: { a: 'b' } }), ended, both, NOW)
    expect(patched.record.tags).toEqual({ a: 'b' })
    expect(patched.events).toEqual([])
  })

  it('names the databases only before they are migrated', () => {
    const early: Situation = { status: { phase: 'Waiting', waitingFor: 'WaitingForDBsToMigrateSpecification' } }
    expect(patch({ dbsToMigrate: ['c'] }, early).record.properties.dbsToMigrate).toEqual(['c'])
    expect(refusal({ dbsToMigrate: ['c'] }).code).toBe('CannotChangeNow')
    expect(refusal({ dbsToMigrate: ['b', 'a'] }).code).toBe('accepted')
    expect(refusal({ dbsToMigrate: ['template0'] }, early).code).toBe('InvalidInput')
  })

  it('is refused after the end, and for the mode', () => {
    expect(refusal({ overwriteDbsInTarget: true }, { status: { phase: 'Ended', outcome: 'Failed' } }).code).toBe(
      'MigrationEnded',
    )
    expect(refusal({ migrationMode: 'Offline' }).code).toBe('CannotChangeNow')
    expect(refusal({ migrationMode: 'online' }).code).toBe('accepted')
  })
})
