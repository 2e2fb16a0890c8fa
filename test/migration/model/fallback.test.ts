import { expect, test } from 'vitest'
import {
  fallbackActions,
  fallbacksOf,
  fallbackIsOn,
  fallbackState,
  parseFallbackRequest,
  serverFallback,
  type FallbackOfDatabase,
} from '../../../migration/model/fallback.ts'
import { newDatabaseStatus, type DatabaseStatus } from '../../../migration/model/status.ts'
import { record as exampleRecord } from './example.ts'

const record = exampleRecord({ pgflex: { fallback: 'ReverseReplication' } })
const [first, second] = record.properties.dbsToMigrate as [string, string]

function way(
  database: string,
  back: Partial<DatabaseStatus>,
  status: Partial<DatabaseStatus> = {},
): FallbackOfDatabase {
  return {
    status: { ...newDatabaseStatus(database), phase: 'Ended', migrationState: 'Succeeded', ...status },
    back: { ...newDatabaseStatus(database), ...back },
  }
}

const following = (database: string, more: Partial<DatabaseStatus> = {}): FallbackOfDatabase =>
  way(database, { phase: 'Following', latencySeconds: 0, ...more })
const steps = { startedAt: '2026-01-01T00:00:00.000Z', steps: [] }
const done = { ...steps, endedAt: '2026-01-01T00:00:01.000Z', downtimeSeconds: 1 }

test.each([
  [{ phase: 'Queued' }, undefined],
  [{ phase: 'CreatingSlot' }, 'Prepared'],
  [{ phase: 'Following' }, 'Following'],
  [{ phase: 'CuttingOver', cutover: steps }, 'SwitchingBack'],
  [{ phase: 'CleaningUp' }, 'Ending'],
  [{ phase: 'CleaningUp', cutover: done }, 'SwitchedBack'],
  [{ phase: 'Ended', migrationState: 'Succeeded', cutover: done }, 'SwitchedBack'],
  [{ phase: 'Ended', migrationState: 'Succeeded' }, 'Ended'],
  [{ phase: 'Ended', migrationState: 'Failed' }, 'Failed'],
] as const)('the state of %j is %s', (back, state) => {
  expect(fallbackState({ ...newDatabaseStatus('a'), ...(back as Partial<DatabaseStatus>) })).toBe(state)
})

test('a way back is on from the end of a successful cutover until its own end', () => {
  expect(fallbackIsOn(following(first))).toBe(true)
  expect(
    fallbackIsOn(way(first, { phase: 'CreatingSlot' }, { phase: 'CuttingOver', migrationState: 'InProgress' })),
  ).toBe(false)
  expect(fallbackIsOn(way(first, { phase: 'CreatingSlot' }, { migrationState: 'Canceled' }))).toBe(false)
  expect(fallbackIsOn(way(first, { phase: 'Ended' }))).toBe(false)
})

test('what may be asked depends on the latency, and on what has been asked', () => {
  expect(fallbackActions(record, following(first))).toEqual(['switchBack', 'end'])
  expect(fallbackActions(record, following(first, { latencySeconds: 31 }))).toEqual(['end'])
  expect(fallbackActions(record, following(first, { latencySeconds: undefined }))).toEqual(['end'])
  const asked = {
    ...record,
    requests: { ...record.requests, fallback: { [first]: { action: 'end' as const, at: '' } } },
  }
  expect(fallbackActions(asked, following(first))).toEqual([])
})

test('an action is stored for the databases that it concerns', () => {
  const all = [following(first), way(second, { phase: 'Ended', migrationState: 'Succeeded', cutover: done })]
  expect(fallbacksOf(record, { action: 'switchBack' }, all)).toEqual([first])
  expect(fallbacksOf(record, { action: 'switchBack', databases: [second] }, all)).toEqual([])
  const asked = {
    ...record,
    requests: { ...record.requests, fallback: { [first]: { action: 'switchBack' as const, at: '' } } },
  }
  expect(fallbacksOf(asked, { action: 'switchBack' }, all)).toEqual([])
  // The end calls a switch back off, as long as it is not decided.
  expect(fallbackActions(asked, all[0]!)).toEqual(['end'])
  expect(fallbacksOf(asked, { action: 'end', databases: [first] }, all)).toEqual([first])
  const decided = following(first, { phase: 'CuttingOver', cutover: { ...steps, decidedAt: steps.startedAt } })
  expect(fallbackActions(asked, decided)).toEqual([])
  expect(() => fallbacksOf(asked, { action: 'end' }, [decided])).toThrow(
    expect.objectContaining({ code: 'FallbackNotReady' }),
  )
  const ending = {
    ...record,
    requests: { ...record.requests, fallback: { [first]: { action: 'end' as const, at: '' } } },
  }
  expect(() => fallbacksOf(ending, { action: 'switchBack' }, all)).toThrow(
    expect.objectContaining({ code: 'FallbackNotReady' }),
  )
})

test('it is refused with words when it is too late, too early, or too far behind', () => {
  const refused = (code: string, message: string): unknown =>
    expect.objectContaining({ code, message: expect.stringContaining(message) })
  const none = exampleRecord()
  expect(() => fallbacksOf(none, { action: 'end' }, [])).toThrow(refused('FallbackNotOn', 'no way back'))
  expect(() =>
    fallbacksOf(record, { action: 'end', databases: [second] }, [way(second, { phase: 'Ended', cutover: done })]),
  ).toThrow(refused('FallbackNotOn', `"${second}" SwitchedBack`))
  expect(() =>
    fallbacksOf(record, { action: 'switchBack', databases: [first] }, [
      way(first, {}, { phase: 'Following', migrationState: 'WaitingForCutoverTrigger' }),
    ]),
  ).toThrow(refused('FallbackNotReady', 'is not cut over'))
  expect(() => fallbacksOf(record, { action: 'switchBack' }, [following(first, { latencySeconds: 45 })])).toThrow(
    refused('LatencyTooHigh', `"${first}" 45 s; the limit is 30 s`),
  )
  expect(
    fallbacksOf(record, { action: 'switchBack', force: true }, [following(first, { latencySeconds: 45 })]),
  ).toEqual([first])
  expect(() => fallbacksOf(record, { action: 'end', databases: ['x'] }, [following(first)])).toThrow(
    refused('InvalidInput', 'not a database of this migration'),
  )
})

test('a body with anything else is refused', () => {
  for (const body of [{}, { action: 'stop' }, { action: 'end', when: 'now' }, undefined]) {
    expect(() => parseFallbackRequest(body)).toThrow(expect.objectContaining({ code: 'InvalidInput' }))
  }
  expect(parseFallbackRequest({ action: 'end' })).toEqual({ action: 'end' })
})

test('the whole shows the state that needs an eye most, and the greatest latency', () => {
  expect(serverFallback([])).toBeUndefined()
  expect(serverFallback([way(first, {})])).toBeUndefined()
  const both = serverFallback([
    way(second, { phase: 'Ended', migrationState: 'Succeeded', cutover: done, message: 'Switched back.' }),
    following(first, {
      latencySeconds: 3,
      lagBytes: 7,
      slot: { name: 's', walStatus: 'reserved', retainedBytes: 5 },
      warnings: ['w'],
    }),
  ])
  expect(both).toEqual({
    state: 'Following',
    appliedChanges: 0,
    latencySeconds: 3,
    lagBytes: 7,
    message: `${second}: Switched back.`,
    slot: { walStatus: 'reserved', retainedBytes: 5 },
    switchBack: done,
    warnings: [expect.stringMatching(`^${first}: w .*the source is the new server`)],
  })
})
