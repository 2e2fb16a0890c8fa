import { expect, test } from 'vitest'
import type { ApplyRights } from '../../../migration/fallback/apply-rights.ts'
import type { ValidationSummaryItem } from '../../../migration/model/status.ts'
import { checkFallbackDatabase, checkFallbackServer } from '../../../migration/validate/fallback-checks.ts'
import type { ServerFacts } from '../../../migration/validate/server-facts.ts'

const target: ServerFacts = {
  versionNumber: 170010,
  version: '17.10',
  identity: 'b',
  walLevel: 'logical',
  maxReplicationSlots: 10,
  usedReplicationSlots: 0,
  maxWalSenders: 10,
  usedWalSenders: 0,
  role: { name: 'target_admin', superuser: false, replication: true, createDb: true, createRole: true },
}
const needs = { databases: 2, writeFreeze: 'Automatic', maySignal: true } as const
const rights: ApplyRights = { versionNumber: 150008, role: 'migrator', mayBeReplica: true, alwaysTriggers: [] }

const said = ({ messages = [] }: ValidationSummaryItem): string[] =>
  messages.map(({ state, message }) => `${state} ${message}`)

test('servers and databases that fit have nothing to say', () => {
  expect(checkFallbackServer(target, needs)).toEqual({ type: 'FallbackValidation', state: 'Succeeded' })
  expect(checkFallbackServer(target, { ...needs, writeFreeze: 'Manual', maySignal: false }).state).toBe('Succeeded')
  expect(checkFallbackDatabase('shop', 'migrator', { rights, mayCreate: true }).state).toBe('Succeeded')
})

test.each<[string, Partial<ServerFacts>, Partial<typeof needs> | { maySignal: false }, RegExp]>([
  ['no logical WAL', { walLevel: 'replica' }, {}, /^Failed 603107.*alter system set wal_level = 'logical';/],
  [
    'no REPLICATION',
    { role: { ...target.role, replication: false } },
    {},
    /^Failed 603104.*alter role "target_admin" with replication;/,
  ],
  ['too few slots', { usedReplicationSlots: 8 }, {}, /^Failed 603105.* 2 free .*needs 3.*to at least 11/],
  ['too few WAL senders', { maxWalSenders: 2 }, {}, /^Failed 603106.*max_wal_senders to at least 3/],
  ['sessions it may not end', {}, { maySignal: false }, /^Warning 603111.*grant pg_signal_backend to "target_admin";/],
])('of the target: %s', (_what, facts, more, expected) => {
  expect(said(checkFallbackServer({ ...target, ...facts }, { ...needs, ...more }))).toEqual([
    expect.stringMatching(expected),
  ])
})

test.each<[string, Partial<ApplyRights>, boolean, RegExp]>([
  ['too old', { versionNumber: 110022 }, true, /^Failed FallbackDenied: .*PostgreSQL 12 or newer/],
  [
    'no session_replication_role from 15 on',
    { mayBeReplica: false },
    true,
    /grant set on parameter session_replication_role to "migrator";/,
  ],
  [
    'no session_replication_role before 15',
    { mayBeReplica: false, versionNumber: 140019 },
    true,
    /Before PostgreSQL 15 only a superuser may.*rds_superuser/,
  ],
  [
    'triggers that fire all the same',
    { alwaysTriggers: ['audited on public.orders'] },
    true,
    /audited on public\.orders.*alter table … enable trigger …;/,
  ],
  ['no CREATE', {}, false, /grant create on database "shop" to "migrator";/],
])('of the source: %s', (_what, more, mayCreate, expected) => {
  expect(said(checkFallbackDatabase('shop', 'migrator', { rights: { ...rights, ...more }, mayCreate }))).toEqual([
    expect.stringMatching(expected),
  ])
})
