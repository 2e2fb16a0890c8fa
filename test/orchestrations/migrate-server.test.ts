import { expect, test } from 'vitest'
import { migrateServer } from '../../orchestrations/migrate-server.ts'
import { play } from './play.ts'

const ready = {
  ok: true,
  ready: true,
  databases: ['a', 'b'],
  online: true,
  validate: true,
  migrate: true,
  parameters: true,
}

function activities(results: Record<string, unknown[]>) {
  return (name: string): unknown => {
    const list = results[name]
    return (list && list.length > 1 ? list.shift() : list?.[0]) ?? { ok: true }
  }
}

test('validates, copies parameters, migrates the databases side by side, and sums up', () => {
  const children: unknown[] = []
  const { calls, output } = play(
    migrateServer,
    { key: 'k' },
    {
      activity: activities({ readiness: [ready], validate: [{ ok: true, proceed: true }] }),
      child: (_, input) => children.push(input),
    },
  )
  expect(calls).toEqual([
    'readiness',
    'validate',
    'copyServerParameters',
    'migrateDatabase',
    'migrateDatabase',
    'endMigration',
  ])
  expect(children).toEqual([
    { key: 'k', database: 'a', online: true, stage: 'load' },
    { key: 'k', database: 'b', online: true, stage: 'load' },
  ])
  expect(output).toBeUndefined()
})

test('a failed validation ends the migration before anything is touched', () => {
  const { calls, output } = play(
    migrateServer,
    { key: 'k' },
    { activity: activities({ readiness: [ready], validate: [{ ok: true, proceed: false }] }) },
  )
  expect(calls).toEqual(['readiness', 'validate', 'endMigration'])
  expect(output).toEqual({ state: 'ValidationFailed' })
})

test('the option Validate ends after the validation', () => {
  const { calls, output } = play(
    migrateServer,
    { key: 'k' },
    {
      activity: activities({ readiness: [{ ...ready, migrate: false }], validate: [{ ok: true, proceed: true }] }),
    },
  )
  expect(calls).toEqual(['readiness', 'validate', 'endMigration'])
  expect(output).toEqual({ state: 'Succeeded' })
})

test('waits for its window and looks again when the user has changed something', () => {
  const waiting = { ok: true, ready: false, canceled: false, waitMs: 30_000 }
  let looks = 0
  const { calls } = play(
    migrateServer,
    { key: 'k' },
    {
      activity: activities({ readiness: [waiting, waiting, ready], validate: [{ ok: true, proceed: true }] }),
      event: (names) => (names.includes('Changed') && ++looks === 2 ? { name: 'Changed', data: {} } : undefined),
    },
  )
  expect(calls.slice(0, 4)).toEqual(['readiness', 'timer', 'readiness', 'readiness'])
})

test('a migration that is cancelled while it waits ends as cancelled', () => {
  const { output } = play(
    migrateServer,
    { key: 'k' },
    { activity: activities({ readiness: [{ ok: true, ready: false, canceled: true, waitMs: 0 }] }) },
  )
  expect(output).toEqual({ state: 'Canceled' })
})

test('every Cutover event is stored, also the second one, and the databases are waited for', () => {
  const events = [{ databases: ['a'] }, undefined, { databases: ['b'] }]
  const stored: unknown[] = []
  const results = activities({
    readiness: [ready],
    validate: [{ ok: true, proceed: true }],
    databasesEnded: [
      { ok: true, ended: false },
      { ok: true, ended: false },
      { ok: true, ended: false },
      { ok: true, ended: true },
    ],
  })
  const { calls } = play(
    migrateServer,
    { key: 'k' },
    {
      activity: (name, input) => {
        if (name === 'storeCutover') stored.push(input)
        return results(name)
      },
      event: (names) => {
        const data = names.includes('Cutover') ? events.shift() : undefined
        return data && { name: 'Cutover', data }
      },
    },
  )
  expect(stored).toEqual([
    { key: 'k', databases: ['a'] },
    { key: 'k', databases: ['b'] },
  ])
  expect(calls.at(-1)).toBe('endMigration')
  expect(calls.filter((name) => name === 'migrateDatabase')).toHaveLength(2)
})

test('a database whose orchestration fails does not end the migration while others run', () => {
  const ended: string[] = []
  const { calls } = play(
    migrateServer,
    { key: 'k' },
    {
      activity: activities({ readiness: [ready], validate: [{ ok: true, proceed: true }] }),
      child: (_, input) => {
        const { database } = input as { database: string }
        if (database === 'a') throw new Error('non-deterministic')
        ended.push(database)
        return { state: 'Succeeded' }
      },
    },
  )
  expect(ended).toEqual(['b'])
  expect(calls.at(-1)).toBe('endMigration')
})
