import { expect, test } from 'vitest'
import { MigrationError } from '../../../migration/errors.ts'
import { parseLsn } from '../../../migration/lsn.ts'
import type { SlotState } from '../../../migration/replicate/replication-slot.ts'
import { slotTrouble } from '../../../migration/replicate/slot-trouble.ts'
import {
  continuation,
  parseHistory,
  sharedUntil,
  type SourceNow,
  type Timeline,
} from '../../../migration/replicate/source-history.ts'
import { sourceTrouble } from '../../../migration/replicate/source-trouble.ts'

const FIRST: Timeline[] = [{ id: 1 }]
const PROMOTED: Timeline[] = [{ id: 1, end: '0/5000' }, { id: 2 }]

function server(timelines: Timeline[], flushLsn = '0/9000', systemIdentifier = '7'): SourceNow {
  return { systemIdentifier, timelines, flushLsn: parseLsn(flushLsn) }
}

function decide(was: Timeline[], now: SourceNow, applied: string, standby = false): string {
  const next = continuation({ systemIdentifier: '7', timelines: was }, now, parseLsn(applied), standby)
  return next.goesOn ? 'goes on' : `${next.error.code}${next.error.retryable ? ' (retried)' : ''}`
}

test('a history file tells where each timeline was left', () => {
  expect(
    parseHistory('1\t0/3000148\tno recovery target specified\n\n# a comment\n2\t1/A0\tat restore point\n'),
  ).toEqual([
    { id: 1, end: '0/3000148' },
    { id: 2, end: '1/A0' },
  ])
})

test('two histories share what lies before the first place where they part', () => {
  expect(sharedUntil(FIRST, FIRST)).toBeUndefined()
  expect(sharedUntil(PROMOTED, PROMOTED)).toBeUndefined()
  expect(sharedUntil(FIRST, PROMOTED)).toBe(0x5000n)
  expect(sharedUntil(PROMOTED, FIRST)).toBe(0x5000n)
  // Two standbys that were promoted at different places, both as timeline 2.
  expect(sharedUntil(PROMOTED, [{ id: 1, end: '0/4000' }, { id: 2 }])).toBe(0x4000n)
  expect(sharedUntil(PROMOTED, [{ id: 1, end: '0/4000' }, { id: 3 }])).toBe(0x4000n)
  expect(sharedUntil(PROMOTED, [...PROMOTED.slice(0, 1), { id: 2, end: '0/7000' }, { id: 3 }])).toBe(0x7000n)
  expect(sharedUntil(FIRST, [{ id: 4 }])).toBe(0n)
})

test('a promoted standby is followed only when it has all that the target has', () => {
  expect(decide(FIRST, server(FIRST), '0/6000')).toBe('goes on')
  expect(decide(FIRST, server(PROMOTED), '0/5000')).toBe('goes on')
  expect(decide(FIRST, server(PROMOTED), '0/5001')).toBe('SourceDiverged')
  // Its twin of the same number was promoted elsewhere.
  expect(decide(PROMOTED, server([{ id: 1, end: '0/4000' }, { id: 2 }]), '0/4800')).toBe('SourceDiverged')
})

test('an old primary, another server, and one that was set back are not followed', () => {
  expect(decide(PROMOTED, server(FIRST), '0/5001')).toBe('SourceIsOldPrimary (retried)')
  expect(decide(PROMOTED, server(FIRST), '0/5000')).toBe('goes on')
  expect(decide(FIRST, server(FIRST, '0/9000', '8'), '0/1')).toBe('SourceReplaced (retried)')
  expect(decide(FIRST, server(FIRST, '0/5FFF'), '0/6000')).toBe('SourceDiverged')
  expect(decide(FIRST, server(FIRST, '0/5FFF'), '0/6000', true)).toBe('SourceBehind (retried)')
})

const state: SlotState = {
  active: false,
  walStatus: 'reserved',
  retainedBytes: 0,
  confirmedFlushLsn: 0x100n,
  restartLsn: 0x80n,
}

test.each([
  [{ state }, undefined],
  [{ state: { ...state, walStatus: 'unreserved' } }, undefined],
  [{ state: { ...state, walStatus: 'lost' } }, 'SlotWalRemoved'],
  [{ state: { ...state, walStatus: 'lost', invalidationReason: 'wal_removed' } }, 'SlotWalRemoved'],
  [{ state: { ...state, walStatus: 'lost', invalidationReason: 'idle_timeout' } }, 'SlotIdleTimeout'],
  [{ state: { ...state, walStatus: 'lost', invalidationReason: 'rows_removed' } }, 'SlotRowsRemoved'],
  [{ state: { ...state, invalidationReason: 'wal_level_insufficient' } }, 'SlotWalLevel'],
  [{ state: { ...state, invalidationReason: 'of_tomorrow' } }, 'SlotInvalidated'],
  [{ state: undefined }, 'SlotLost'],
  [{ state: undefined, failedOver: true }, 'SlotNotFailedOver'],
  [{ state, acknowledged: 0x100n }, undefined],
  [{ state, acknowledged: 0xffn }, 'SlotLost'],
])('a slot in state %o is %s', (facts, code) => {
  const trouble = slotTrouble({ slot: 's', ...facts })
  expect(trouble?.code).toBe(code)
  expect([undefined, false]).toContain(trouble?.retryable)
  expect(trouble?.hint ?? 'copied anew').toMatch(/copied anew/)
})

test.each([
  [Object.assign(new Error('terminating connection'), { code: '57P01' }), 'SourceShutDown'],
  [Object.assign(new Error('terminating connection'), { code: '57P02' }), 'SourceCrashed'],
  [Object.assign(new Error('the database system is starting up'), { code: '57P03' }), 'SourceStarting'],
  [Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }), 'SourceConnectionLost'],
  [new Error('Connection terminated unexpectedly'), 'SourceConnectionLost'],
])('%s of the source is %s, and tried again', (error, code) => {
  expect(sourceTrouble(error)).toMatchObject({ code, retryable: true })
})

test('what is no loss of a connection stays as it is', () => {
  const error = Object.assign(new Error('no such column'), { code: '42703' })
  expect(sourceTrouble(error)).toBe(error)
  const own = new MigrationError('SlotInUse', '', { retryable: true })
  expect(sourceTrouble(own)).toBe(own)
})
