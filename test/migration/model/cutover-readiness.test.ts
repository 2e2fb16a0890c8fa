import { expect, it } from 'vitest'
import { cutoverReadiness } from '../../../migration/model/cutover-readiness.ts'
import { migrationSchema } from '../../../migration/model/migration-resource.ts'
import type { CutoverFacts, DatabaseStatus } from '../../../migration/model/status.ts'
import { toResource } from '../../../migration/model/wire.ts'
import { database, record, server, waiting } from './example.ts'

const NONE = { count: 0, names: [] }
const FACTS: CutoverFacts = {
  at: '2026-11-22T08:10:00.000Z',
  failedObjects: NONE,
  pendingObjects: NONE,
  unfollowed: NONE,
  withoutIdentity: NONE,
  sequences: 3,
  missingSequences: NONE,
  freezeObstacles: NONE,
  longTransactions: NONE,
}

function ready(change: Partial<DatabaseStatus> = {}): DatabaseStatus {
  return waiting('a', {
    tables: { queued: 0, loading: 0, completed: 4, errored: 0 },
    slot: { name: 'pgflex_a', walStatus: 'reserved', retainedBytes: 0 },
    cutoverFacts: FACTS,
    ...change,
  })
}

/** What does not hold, in words. */
function open(status: DatabaseStatus, properties: Record<string, unknown> = {}): Record<string, string> {
  const checks = cutoverReadiness(record(properties), status)!
  return Object.fromEntries(checks.filter(({ ok }) => !ok).map(({ check, message }) => [check, message]))
}

it('a database that has all is ready, and says so of each thing', () => {
  expect(open(ready())).toEqual({})
  expect(cutoverReadiness(record(), ready())!.map(({ check, message }) => `${check}: ${message}`)).toEqual([
    'tables copied: All 4 tables are copied.',
    'indexes and constraints: All indexes and constraints that can be there before cutover are there.',
    'following: The target follows the source.',
    'latency: The latency is 0 s; cutover is allowed up to 30 s.',
    'changes applied: Every change that was applied found its row.',
    'slot: The slot pgflex_a has all WAL that is needed.',
    'tables followed: Every table of the source is followed.',
    'identity of tables: Every row of every table that is followed can be identified.',
    'sequences: All 3 sequences are on the target; cutover sets them.',
    'freeze: No prepared transaction, no setting of a role, and no long transaction that our role can see stands against stopping the writes.',
    'comparison: Nothing has been compared yet; cutover compares (Checksums), and is called off where the sides differ.',
  ])
})

it('nothing is taken for granted before it has been seen', () => {
  expect(Object.keys(open(database('a')))).toEqual([
    'tables copied',
    'indexes and constraints',
    'following',
    'latency',
    'slot',
    'tables followed',
    'identity of tables',
    'sequences',
    'freeze',
  ])
})

it.each<[string, Partial<DatabaseStatus>, Record<string, unknown>]>([
  ['2 of 4 tables are copied.', { tables: { queued: 1, loading: 1, completed: 2, errored: 0 } }, {}],
  ['1 table of 4 could not be copied.', { tables: { queued: 0, loading: 0, completed: 3, errored: 1 } }, {}],
  [
    '7 objects could not be built on the target: INDEX i on public.t and 6 more.',
    { cutoverFacts: { ...FACTS, failedObjects: { count: 7, names: ['INDEX i on public.t'] } } },
    {},
  ],
  [
    'Still to be built on the target: 1 object: INDEX i on public.t.',
    { cutoverFacts: { ...FACTS, pendingObjects: { count: 1, names: ['INDEX i on public.t'] } } },
    {},
  ],
  ['does not follow the source yet: BuildingIndexes.', { phase: 'BuildingIndexes', migrationState: 'InProgress' }, {}],
  ['The latency is 45.2 s; cutover is refused above 30 s', { latencySeconds: 45.21 }, {}],
  ['The latency is not known yet.', { latencySeconds: undefined }, {}],
  ['2 changes found no row on the target', { changes: { ...database('a').changes, missed: 2 } }, {}],
  ['The slot pgflex_a is lost', { slot: { name: 'pgflex_a', walStatus: 'lost', retainedBytes: 0 } }, {}],
  [
    'Not followed: 1 table of the source: public.new.',
    { cutoverFacts: { ...FACTS, unfollowed: { count: 1, names: ['public.new'] } } },
    {},
  ],
  [
    'An UPDATE would not be found at cutover',
    { cutoverFacts: { ...FACTS, withoutIdentity: { count: 1, names: ['public.log'] } } },
    { pgflex: { verify: 'Counts' } },
  ],
  [
    'Missing on the target: 1 sequence of 3: public.s.',
    { cutoverFacts: { ...FACTS, missingSequences: { count: 1, names: ['public.s'] } } },
    {},
  ],
  [
    'The last comparison (Checksums) found differences in 1 table: public.t.',
    {
      verification: {
        mode: 'Checksums',
        result: 'Different',
        tables: 4,
        rows: 9,
        seconds: 1,
        differences: [{ table: 'public.t', source: '4 rows', target: '5 rows' }],
      },
    },
    {},
  ],
])('is not ready, and says why: %s', (message, change, properties) => {
  const texts = Object.values(open(ready(change), properties))
  expect(texts).toHaveLength(1)
  expect(texts[0]).toContain(message)
})

it('tables whose rows cannot be identified are left to the checksums', () => {
  const cutoverFacts = { ...FACTS, withoutIdentity: { count: 1, names: ['public.log'] } }
  expect(open(ready({ cutoverFacts }))).toEqual({})
  const checks = cutoverReadiness(record(), ready({ cutoverFacts }))!
  expect(checks.find(({ check }) => check === 'identity of tables')!.message).toContain('public.log')
})

it('nobody is asked to get ready for what cuts over by itself or is over', () => {
  expect(cutoverReadiness(record({ migrationMode: 'Offline' }), ready())).toBeUndefined()
  expect(cutoverReadiness(record(), ready({ phase: 'Ended', migrationState: 'Succeeded' }))).toBeUndefined()
})

it('is a part of the status of each database', () => {
  const resource = toResource(record(), server(), [ready(), ready({ database: 'b' })])
  expect(migrationSchema.parse(resource)).toEqual(resource)
  const { dbDetails } = resource.properties.currentStatus.currentSubStateDetails
  expect(dbDetails['b']!.pgflex.readiness).toHaveLength(11)
})

it('what would let writes in all the same stands against the freeze', () => {
  const freezeObstacles = { count: 2, names: ['prepared transaction a of b: commit or roll back', 'role c …'] }
  expect(open(ready({ cutoverFacts: { ...FACTS, freezeObstacles } }))).toEqual({
    freeze:
      'Writes on the source would still be let in after they are stopped: prepared transaction a of b: commit or roll back; role c ….',
  })
})

it.for([
  ['Automatic', 'The freeze ends every session, and rolls back 1 long transaction: app (pid 7), 12 min.'],
  ['Manual', 'Wait for 1 long transaction before you cut over: app (pid 7), 12 min.'],
])('a long transaction is named, and what becomes of it: %s', ([writeFreeze, message]) => {
  const cutoverFacts = { ...FACTS, longTransactions: { count: 1, names: ['app (pid 7), 12 min'] } }
  const checks = cutoverReadiness(record({ pgflex: { writeFreeze } }), ready({ cutoverFacts }))!
  expect(checks.find(({ check }) => check === 'freeze')).toEqual({ check: 'freeze', ok: true, message })
})
