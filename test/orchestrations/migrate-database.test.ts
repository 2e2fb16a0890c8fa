import { expect, test } from 'vitest'
import { migrateDatabase } from '../../orchestrations/migrate-database.ts'
import { play } from './play.ts'

const input = { key: 'k', database: 'shop', online: true, stage: 'load' }

/** Activities that all go well; the cutover is asked for after some slices. */
function world(slices: number, overrides: Record<string, (input: unknown) => unknown> = {}) {
  let slice = 0
  const results: Record<string, (input: unknown) => unknown> = {
    planLoad: () => ({ ok: true, tables: 3, width: 2 }),
    copyTables: () => ({ ok: true, errored: 0, remaining: 0 }),
    copyLargeObjects: () => ({ ok: true, finished: true }),
    buildIndexes: () => ({ ok: true, finished: true }),
    replicateSlice: () => ({ ok: true, next: ++slice > slices ? 'cutover' : 'slice' }),
    cutoverDatabase: () => ({ ok: true, next: 'finished' }),
    endDatabase: () => ({ ok: true, finished: true }),
    ...overrides,
  }
  return { activity: (name: string, given: unknown) => results[name]?.(given) ?? { ok: true } }
}

test('an online migration makes the slot before it copies, and ends after the cutover', () => {
  const { calls, output } = play(migrateDatabase, input, world(1))
  expect(calls).toEqual([
    'prepareDatabase',
    'createSlot',
    'planLoad',
    'copyTables',
    'copyTables',
    'startIndexes',
    'copyTables',
    'copyLargeObjects',
    'buildIndexes',
    'replicateSlice',
    'replicateSlice',
    'cutoverDatabase',
    'endDatabase',
  ])
  expect(output).toEqual({ state: 'Succeeded' })
})

test('an offline migration has neither slot nor slices', () => {
  const { calls } = play(migrateDatabase, { ...input, online: false }, world(0))
  expect(calls).not.toContain('createSlot')
  expect(calls).not.toContain('startIndexes')
  expect(calls).not.toContain('replicateSlice')
  expect(calls.slice(-2)).toEqual(['cutoverDatabase', 'endDatabase'])
})

test('following goes on in a new generation, which does not load again', () => {
  const { calls, continuedAs, output } = play(migrateDatabase, { ...input, stage: 'follow' }, world(1000))
  expect(continuedAs).toEqual({ ...input, stage: 'follow' })
  expect(output).toBeUndefined()
  expect(new Set(calls)).toEqual(new Set(['replicateSlice']))
})

test('a cutover that was called off goes back to following', () => {
  let cutovers = 0
  const { calls, output } = play(
    migrateDatabase,
    { ...input, stage: 'follow' },
    world(0, { cutoverDatabase: () => ({ ok: true, next: ++cutovers === 1 ? 'slice' : 'finished' }) }),
  )
  expect(calls).toEqual(['replicateSlice', 'cutoverDatabase', 'replicateSlice', 'cutoverDatabase', 'endDatabase'])
  expect(output).toEqual({ state: 'Succeeded' })
})

/** The way back, until the user wants something. */
function backWorld(asked: string, overrides: Record<string, (input: unknown) => unknown> = {}) {
  let slice = 0
  return world(0, {
    followBack: () => ({ ok: true, next: ++slice > 1 ? asked : 'slice' }),
    switchBack: () => ({ ok: true, next: 'finished' }),
    endFallback: () => ({ ok: true, finished: true }),
    ...overrides,
  })
}

test('a database with a way back brings changes back in a new generation, after its end', () => {
  const { calls, continuedAs, output } = play(
    migrateDatabase,
    { ...input, stage: 'follow' },
    world(0, { endDatabase: () => ({ ok: true, finished: true, fallback: true }) }),
  )
  expect(calls.at(-1)).toBe('endDatabase')
  expect(continuedAs).toEqual({ ...input, stage: 'fallback' })
  expect(output).toBeUndefined()
})

test.each([
  ['end', ['followBack', 'followBack', 'endFallback']],
  ['switchBack', ['followBack', 'followBack', 'switchBack', 'endFallback']],
])('a way back ends when the user asks for %s', (asked, expected) => {
  const { calls, output } = play(migrateDatabase, { ...input, stage: 'fallback' }, backWorld(asked))
  expect(calls).toEqual(expected)
  expect(output).toEqual({ state: 'Succeeded' })
})

test('a switch back that was called off goes on bringing changes back, in ever new generations', () => {
  let tries = 0
  const { calls, continuedAs } = play(
    migrateDatabase,
    { ...input, stage: 'fallback' },
    backWorld('switchBack', {
      followBack: () => ({ ok: true, next: ++tries === 2 ? 'switchBack' : 'slice' }),
      switchBack: () => ({ ok: true, next: 'slice' }),
    }),
  )
  expect(calls.slice(0, 4)).toEqual(['followBack', 'followBack', 'switchBack', 'followBack'])
  expect(continuedAs).toEqual({ ...input, stage: 'fallback' })
})

test('while the old server is away it is tried twice a minute, and the end is noticed', () => {
  let tries = 0
  const away = { ok: false, code: '603000', message: 'Away.', retryable: true }
  const { calls } = play(
    migrateDatabase,
    { ...input, stage: 'fallback' },
    backWorld('end', { followBack: () => (++tries > 5 ? { ok: true, next: 'end' } : away) }),
  )
  const attempt = ['followBack', 'timer']
  expect(calls).toEqual([...attempt, ...attempt, ...attempt, ...attempt, ...attempt, 'followBack', 'endFallback'])
})

test('a way back that is lost for good is removed, and the migration has succeeded all the same', () => {
  const ended: unknown[] = []
  const { output } = play(
    migrateDatabase,
    { ...input, stage: 'fallback' },
    backWorld('end', {
      followBack: () => ({ ok: false, code: 'SlotLost', message: 'The slot is gone.', retryable: false }),
      endFallback: (given) => {
        ended.push(given)
        return { ok: true, finished: ended.length > 1 }
      },
    }),
  )
  expect(ended).toHaveLength(2)
  expect(ended[0]).toEqual({ key: 'k', database: 'shop', failure: 'The slot is gone.' })
  expect(output).toEqual({ state: 'Succeeded' })
})

test('a failure that may go away is tried again after a pause', () => {
  let tries = 0
  const { calls } = play(
    migrateDatabase,
    { ...input, stage: 'follow' },
    world(0, {
      replicateSlice: () =>
        ++tries < 3
          ? { ok: false, code: '57P01', message: 'restarting', retryable: true }
          : { ok: true, next: 'cutover' },
    }),
  )
  expect(calls).toEqual([
    'replicateSlice',
    'timer',
    'replicateSlice',
    'timer',
    'replicateSlice',
    'cutoverDatabase',
    'endDatabase',
  ])
})

test('a failure that stays ends the database as failed, with what to do, after the clean-up', () => {
  const ended: unknown[] = []
  const failure = { ok: false, code: 'SlotLost', message: 'The slot is gone.', hint: 'Migrate anew.', retryable: false }
  const { output } = play(
    migrateDatabase,
    { ...input, stage: 'follow' },
    world(0, {
      replicateSlice: () => failure,
      endDatabase: (given) => {
        ended.push(given)
        return { ok: true, finished: ended.length > 1 }
      },
    }),
  )
  expect(output).toEqual({ state: 'Failed', message: 'The slot is gone. Migrate anew.' })
  expect(ended).toHaveLength(2)
})

test.each([
  'SlotIdleTimeout',
  'SlotInvalidated',
  'SlotLost',
  'SlotNotFailedOver',
  'SlotRowsRemoved',
  'SlotWalLevel',
  'SlotWalRemoved',
  'SourceDiverged',
  'PublicationMissing',
])('%s ends the database at once while following', (code) => {
  const { output, calls } = play(
    migrateDatabase,
    { ...input, stage: 'follow' },
    world(0, { replicateSlice: () => ({ ok: false, code, message: 'Gone.', retryable: false }) }),
  )
  expect(calls).toEqual(['replicateSlice', 'endDatabase'])
  expect(output).toEqual({ state: 'Failed', message: 'Gone.' })
})

test('a cancelled database ends as cancelled', () => {
  const { output } = play(
    migrateDatabase,
    input,
    world(0, { copyTables: () => ({ ok: false, code: 'Canceled', message: 'cancelled', retryable: false }) }),
  )
  expect(output).toEqual({ state: 'Canceled' })
})

test('a helper that fails changes nothing: what it left is done after it', () => {
  const threw = (): never => {
    throw new Error('The process died too often.')
  }
  const { output, calls } = play(
    migrateDatabase,
    input,
    world(0, {
      startIndexes: threw,
      copyTables: (given) =>
        (given as { worker: number }).worker === 0 ? { ok: true, errored: 0, remaining: 0 } : threw(),
    }),
  )
  expect(output).toEqual({ state: 'Succeeded' })
  expect(calls.filter((name) => /copy|Indexes/.test(name))).toEqual([
    'copyTables',
    'copyTables',
    'startIndexes',
    'copyTables',
    'copyLargeObjects',
    'buildIndexes',
  ])
})

test('tables that could not be copied end the database as failed', () => {
  const { output, calls } = play(
    migrateDatabase,
    input,
    world(0, { copyTables: () => ({ ok: true, errored: 2, remaining: 0 }) }),
  )
  expect(output).toMatchObject({ state: 'Failed', message: expect.stringContaining('2 tables of "shop"') })
  expect(calls).not.toContain('buildIndexes')
})

test('what somebody can mend is waited for while following, and ends a load', () => {
  const refused = { ok: false, code: 'SchemaChanged', message: 'A column was added.', retryable: false }
  let slices = 0
  const { calls } = play(
    migrateDatabase,
    { ...input, stage: 'follow' },
    world(0, { replicateSlice: () => (++slices < 3 ? refused : { ok: true, next: 'cutover' }) }),
  )
  expect(calls.filter((name) => name === 'timer')).toHaveLength(2)
  expect(calls.at(-2)).toBe('cutoverDatabase')
  const { output } = play(migrateDatabase, input, world(0, { planLoad: () => refused }))
  expect(output).toMatchObject({ state: 'Failed', message: 'A column was added.' })
})
