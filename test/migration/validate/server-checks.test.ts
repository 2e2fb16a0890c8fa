import { expect, test } from 'vitest'
import { checkServers, worst } from '../../../migration/validate/server-checks.ts'
import { majorVersion, type ServerFacts } from '../../../migration/validate/server-facts.ts'

const source: ServerFacts = {
  versionNumber: 130023,
  version: '13.23',
  identity: 'a',
  walLevel: 'logical',
  maxReplicationSlots: 10,
  usedReplicationSlots: 0,
  maxWalSenders: 10,
  usedWalSenders: 0,
  role: { name: 'migrator', superuser: false, replication: true, createDb: false, createRole: false },
}
const target: ServerFacts = {
  ...source,
  versionNumber: 170010,
  version: '17.10',
  identity: 'b',
  role: { name: 'target_admin', superuser: false, replication: false, createDb: true, createRole: true },
}
const online = { online: true, databases: 2 }

function messages(items: ReturnType<typeof checkServers>): string[] {
  return items.flatMap((item) => item.messages ?? []).map(({ state, message }) => `${state} ${message}`)
}

test('servers that fit have nothing to say', () => {
  const items = checkServers(source, target, online)
  expect(worst(items)).toBe('Succeeded')
  expect(items.every((item) => item.messages === undefined)).toBe(true)
})

test.each([
  ['an older target', source, { ...target, versionNumber: 120022, version: '12.22' }, online, /603400.*older/],
  [
    'a source without pgoutput',
    { ...source, versionNumber: 90624, version: '9.6.24' },
    target,
    online,
    /603400.*Offline/,
  ],
  ['the same server twice', source, { ...target, identity: 'a' }, online, /SameServer/],
  ['wal_level replica', { ...source, walLevel: 'replica' }, target, online, /603107.*alter system set wal_level/],
  ['too few slots', { ...source, usedReplicationSlots: 8 }, target, online, /603105.*at least 11/],
  ['too few senders', { ...source, usedWalSenders: 9 }, target, online, /603106/],
  [
    'no replication right',
    { ...source, role: { ...source.role, replication: false } },
    target,
    online,
    /603104.*alter role "migrator" with replication/,
  ],
  [
    'a target role that may not create databases',
    source,
    { ...target, role: { ...target.role, createDb: false } },
    online,
    /603117/,
  ],
] as const)('%s fails, and the message says what to do', (_, a, b, needs, expected) => {
  const items = checkServers(a, b, needs)
  expect(worst(items)).toBe('Failed')
  expect(messages(items)).toEqual([expect.stringMatching(expected)])
})

test('an offline migration needs neither logical WAL nor slots nor the replication right', () => {
  const plain = { ...source, walLevel: 'minimal', maxReplicationSlots: 0, role: { ...source.role, replication: false } }
  expect(worst(checkServers(plain, target, { online: false, databases: 1 }))).toBe('Succeeded')
})

test('a minor version of the target that is older than the source is no downgrade', () => {
  expect(worst(checkServers({ ...source, versionNumber: 170011, version: '17.11' }, target, online))).toBe('Succeeded')
})

test('major versions are read as PostgreSQL counts them', () => {
  expect([90624, 100023, 130023, 180004].map(majorVersion)).toEqual([9.06, 10, 13, 18])
})
