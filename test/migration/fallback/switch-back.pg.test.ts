import { afterAll, beforeAll, expect, test } from 'vitest'
import { acquireLease } from '../../../migration/control/lease.ts'
import { cutoverDatabase } from '../../../migration/cutover/cutover-database.ts'
import { endDatabase } from '../../../migration/cutover/end-database.ts'
import { endFallback } from '../../../migration/fallback/end-fallback.ts'
import { followBack } from '../../../migration/fallback/follow-back.ts'
import { beginWayBack, prepareWayBack, removeWayBack } from '../../../migration/fallback/way-back.ts'
import { switchBack } from '../../../migration/fallback/switch-back.ts'
import { fallbackState } from '../../../migration/model/fallback.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import {
  readDatabaseStatus,
  readEvents,
  readRecord,
  readServerStatus,
  updateRecord,
} from '../../../migration/store/migrations.ts'
import { passwordName } from '../../../migration/store/secrets.ts'
import { APP_USER, SOURCE_USER, type ServerPair } from '../../support/servers.ts'
import { isFrozen, leftOf, readyToCutOver, startFallbackPair, type WithWayBack } from './cut-over.ts'
import { CONSISTENT, startWriters, WRITERS_DDL, WRITERS_ROWS } from './writers.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startFallbackPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const TABLES = `
  create table t (id bigint generated always as identity primary key, v int not null);
  create table keyless (v int);`
const ROWS = `
  insert into t (v) select g from generate_series(1, 100) g;
  insert into keyless select g from generate_series(1, 10) g;`

const IDENTITY = `select attidentity from pg_attribute where attrelid = 't'::regclass and attname = 'id'`

test('after a switch back under load both sides are equal, and every acknowledged write is there', async () => {
  await using way = await readyToCutOver(pair, 'under_load', { ddl: WRITERS_DDL, rows: WRITERS_ROWS })
  await way.cutOver()
  const writers = startWriters(pair, 'under_load', 3)
  try {
    await expect.poll(() => writers.acknowledged(), { timeout: 20_000 }).toBeGreaterThan(100)
    const following = followBack(await way.context())
    await expect.poll(async () => (await way.backStatus()).latencySeconds, { timeout: 20_000 }).toBeDefined()
    await way.ask('switchBack')
    expect(await following).toEqual({ next: 'switchBack' })
    expect(await switchBack(await way.context())).toEqual({ next: 'finished' })
    expect([await isFrozen(way, 'source'), await isFrozen(way, 'target')]).toEqual([false, true])
    expect(await writers.missing('source')).toEqual([])
    const before = writers.acknowledged()
    // They write on the old server again, with identity columns and triggers as they were.
    await expect.poll(() => writers.acknowledged(), { timeout: 20_000 }).toBeGreaterThan(before + 50)
  } finally {
    await writers.stop()
  }
  expect(await writers.missing('source')).toEqual([])
  for (const side of ['onSource', 'onTarget'] as const) expect(await way[side](CONSISTENT)).toEqual([{ ok: true }])
  // Everything that the new server has is on the old one; nothing was written there after the switch.
  const entries = (await way.onTarget('select writer, n from entry')).map((row) => JSON.stringify(row))
  const there = new Set((await way.onSource('select writer, n from entry')).map((row) => JSON.stringify(row)))
  expect(entries.filter((entry) => !there.has(entry))).toEqual([])
  const { cutover } = await way.backStatus()
  expect(cutover?.steps.map(({ name }) => name)).toEqual([
    'check objects',
    'catch up',
    'freeze writes',
    'take LSN',
    'check tables',
    'drain',
    'unfollowed tables',
    'large objects',
    'extension tables',
    'sequences',
    'compare',
    'check for late writes',
    'triggers and constraints',
    'let writes in',
  ])
  expect(cutover!.downtimeSeconds).toBeGreaterThan(0)
  const { documents, key } = way.migration.context
  expect((await readEvents(documents, key)).filter(({ event }) => event === 'SwitchedBack')).toMatchObject([
    { message: expect.stringContaining(`switched back to ${pair.source.host}:${pair.source.port}; downtime`) },
  ])
  expect(await endFallback(await way.context())).toEqual({ finished: true })
  expect(await leftOf(way)).toEqual([])
  expect(fallbackState(await way.backStatus())).toBe('SwitchedBack')
  expect([await isFrozen(way, 'source'), await isFrozen(way, 'target')]).toEqual([false, true])
})

test('a switch back brings sequences, large objects and tables without a key, and identity columns are as before', async () => {
  await using way = await readyToCutOver(pair, 'all_of_it', {
    ddl: TABLES,
    rows: ROWS,
    properties: { dbsToMigrate: ['all_of_it', 'on_its_way'] },
  })
  await way.cutOver()
  {
    await using app = await way.app()
    await app.query('insert into t (v) values (1), (2)')
    await app.query('update keyless set v = v + 100 where v <= 5')
    await app.query(`select lo_from_bytea(4711, 'new')`)
  }
  await way.catchUp()
  expect(await way.onSource(IDENTITY)).toEqual([{ attidentity: 'd' }])
  await way.ask('switchBack')
  expect(await switchBack(await way.context())).toEqual({ next: 'finished' })
  expect(await way.onSource('select sum(v)::int as v from keyless')).toEqual([{ v: 555 }])
  expect(await way.onSource(`select convert_from(lo_get(4711), 'UTF8') as text`)).toEqual([{ text: 'new' }])
  expect(await way.onSource('insert into t (v) values (3) returning id')).toEqual([{ id: '103' }])
  {
    // Somebody reads: applications do not queue up behind us, and it is tried again.
    await using reader = await pair.source.connect('all_of_it')
    await reader.query('begin; select from t')
    await expect(endFallback(await way.context())).rejects.toThrow('lock timeout')
  }
  // The other database of the migration has not ended, and so the migration has not.
  expect(await endFallback(await way.context())).toEqual({ finished: true })
  expect(await way.onSource(IDENTITY)).toEqual([{ attidentity: 'a' }])
  const { documents, secrets, key } = way.migration.context
  expect((await readServerStatus(documents, key)).outcome).toBeUndefined()
  expect(await secrets.get(passwordName(key, 'source'))).toBeDefined()
})

test('a switch back brings what users have changed in tables of extensions', async () => {
  await using way = await readyToCutOver(pair, 'extended', { ddl: TABLES, rows: ROWS })
  const extend = `
    set role ${APP_USER}; create table setting (name text primary key, value text); reset role;
    create extension citext; alter extension citext add table setting;
    update pg_extension set extconfig = array['setting'::regclass]::oid[], extcondition = array['']
     where extname = 'citext'`
  await way.onSource(`${extend}; insert into setting values ('a', '1')`)
  await way.onTarget(extend)
  await way.cutOver()
  await way.onTarget(`update setting set value = '2'`)
  await way.catchUp()
  await way.ask('switchBack')
  expect(await switchBack(await way.context())).toEqual({ next: 'finished' })
  expect(await way.onSource('select name, value from setting')).toEqual([{ name: 'a', value: '2' }])
  expect((await way.backStatus()).warnings.filter((warning) => warning.includes('extension'))).toEqual([])
  expect(await endFallback(await way.context())).toEqual({ finished: true })
})

test('a switch back that fails lets writes in on the new server again, says why, and goes on following', async () => {
  await using way = await readyToCutOver(pair, 'fails', { ddl: TABLES, rows: ROWS })
  await way.cutOver()
  await way.expectEqual()
  // Somebody with more rights than we have writes on the old server.
  await way.onSource('begin read write; delete from t where id = 5; commit')
  await way.ask('switchBack')
  expect(await switchBack(await way.context())).toEqual({ next: 'slice' })
  expect([await isFrozen(way, 'source'), await isFrozen(way, 'target')]).toEqual([true, false])
  const called = await way.backStatus()
  expect(fallbackState(called)).toBe('Following')
  expect(called.message).toMatch(
    /called off, and writes are let in again on the new server: .*public\.t .*the source is the new server/,
  )
  const { documents, key } = way.migration.context
  expect((await readRecord(documents, key))!.requests.fallback).toEqual({})
  // A second copy of the activity, or one that comes late, has nothing to do.
  expect(await switchBack(await way.context())).toEqual({ next: 'slice' })
  expect(await isFrozen(way, 'target')).toBe(false)
  const told = (await readEvents(documents, key)).filter(({ event }) => event === 'SwitchBackCalledOff')
  expect(told).toHaveLength(1)

  await way.onSource('begin read write; insert into t overriding system value values (5, 5); commit')
  await way.onTarget('insert into t (v) values (7)')
  await way.expectEqual()
  await way.ask('switchBack')
  expect(await switchBack(await way.context())).toEqual({ next: 'finished' })
  expect([await isFrozen(way, 'source'), await isFrozen(way, 'target')]).toEqual([false, true])
  // Again, as after a crash: nothing changes.
  expect(await switchBack(await way.context())).toEqual({ next: 'finished' })
  expect(await endFallback(await way.context())).toEqual({ finished: true })
  expect(await switchBack(await way.context())).toEqual({ next: 'finished' })
  expect(await followBackAsACopyThatStoodStill(way)).toEqual({ next: 'switchBack' })
  expect((await way.backStatus()).phase).toBe('Ended')
})

function followBackAsACopyThatStoodStill(way: WithWayBack): Promise<object> {
  return way.context().then((context) => followBack({ ...context, sliceMs: 1 }))
}

test('the end leaves no slot, publication or schema on either side, and the old source as it was', async () => {
  await using way = await readyToCutOver(pair, 'ended', { ddl: TABLES, rows: ROWS })
  await way.cutOver()
  await way.onTarget('insert into t (v) values (1)')
  await way.expectEqual()
  const { secrets, key } = way.migration.context
  expect(await secrets.get(passwordName(key, 'source'))).toBeDefined()
  // A switch back that is not decided is called off by it.
  await way.ask('end')
  await (await way.back()).status({ phase: 'CuttingOver', cutover: { startedAt: 'before', steps: [] } })
  expect(await switchBack(await way.context())).toEqual({ next: 'slice' })
  expect((await way.backStatus()).message).toContain('The end of the way back was asked for instead.')
  expect(await followBack(await way.context())).toEqual({ next: 'end' })
  expect(await endFallback(await way.context())).toEqual({ finished: true })
  expect(await leftOf(way)).toEqual([])
  expect(await way.onSource(IDENTITY)).toEqual([{ attidentity: 'a' }])
  expect([await isFrozen(way, 'source'), await isFrozen(way, 'target')]).toEqual([true, false])
  const status = await way.backStatus()
  expect(fallbackState(status)).toBe('Ended')
  expect(status.message).toContain('alter database "ended" reset default_transaction_read_only;')
  expect(await secrets.get(passwordName(key, 'source'))).toBeUndefined()
  expect(await endFallback(await way.context())).toEqual({ finished: true })
})

test('a cutover that is called off takes its way back with it, and the next one brings nothing twice', async () => {
  await using way = await readyToCutOver(pair, 'called_off', { ddl: TABLES, rows: ROWS })
  await way.onTarget('delete from t where id = 5')
  const { documents, key } = way.migration.context
  {
    await using admin = await pair.source.connect()
    await admin.query(`revoke set on parameter session_replication_role from ${SOURCE_USER}`)
    expect(await cutoverDatabase(await way.context())).toEqual({ next: 'slice' })
    await admin.query(`grant set on parameter session_replication_role to ${SOURCE_USER}`)
    expect((await readDatabaseStatus(documents, key, 'called_off')).message).toContain(
      `grant set on parameter session_replication_role to "${SOURCE_USER}";`,
    )
  }
  expect(await cutoverDatabase(await way.context())).toEqual({ next: 'slice' })
  expect((await readDatabaseStatus(documents, key, 'called_off')).message).toContain('public.t')
  expect((await leftOf(way)).filter((left) => /^target: (slot|pub)|^source: schema/.test(left))).toEqual([])
  expect(await isFrozen(way, 'source')).toBe(false)
  expect(fallbackState(await way.backStatus())).toBeUndefined()

  await way.onTarget('insert into t overriding system value values (5, 5)')
  await way.onSource('insert into t (v) values (11)')
  await updateRecord(documents, key, (record) => ({
    ...record,
    requests: { ...record.requests, cutover: { called_off: { at: new Date().toISOString(), force: false } } },
  }))
  await way.cutOver()
  await way.onTarget('insert into t (v) values (12)')
  await way.expectEqual()
  expect((await way.backStatus()).changes).toMatchObject({ inserts: 1, missed: 0 })
})

test('a way back that an attempt has left which died while it was called off is made anew', async () => {
  await using way = await readyToCutOver(pair, 'left', { ddl: TABLES, rows: ROWS })
  {
    const context = await way.context()
    await using target = await context.target('test')
    await using leaseSession = await context.target('test')
    await using lease = await acquireLease(leaseSession, 'cutover')
    await prepareWayBack(context, 'an earlier attempt', lease!, target)
    await beginWayBack(context, 'an earlier attempt')
  }
  // Followed to the target since then: it would come back from the place of that attempt.
  await way.onSource('insert into t (v) values (11), (12)')
  await way.cutOver()
  await way.onTarget('insert into t (v) values (13)')
  await way.expectEqual()
  expect((await way.backStatus()).changes).toMatchObject({ inserts: 1, missed: 0 })
})

test('a way back that could not be removed when its cutover was called off is removed while following', async () => {
  await using way = await readyToCutOver(pair, 'removed_later', { ddl: TABLES, rows: ROWS })
  {
    const context = await way.context()
    await using target = await context.target('test')
    await using leaseSession = await context.target('test')
    await using lease = await acquireLease(leaseSession, 'cutover')
    await prepareWayBack(context, 'an earlier attempt', lease!, target)
    // A copy of the cutover that stood still since another attempt has nothing to say.
    await expect(beginWayBack(context, 'another attempt')).rejects.toThrow('Another copy of this activity')
    // It is left alone while a cutover is at work.
    await follow(context)
    expect((await leftOf(way)).filter((left) => left.startsWith('target: slot'))).toHaveLength(1)
  }
  await follow(await way.context())
  expect((await leftOf(way)).filter((left) => /^target: (slot|pub)|^source: schema/.test(left))).toEqual([])
})

test('a copy that stood still while a cutover was called off removes nothing of the way back of the next one', async () => {
  await using way = await readyToCutOver(pair, 'next_one', { ddl: TABLES, rows: ROWS })
  const context = await way.context()
  await using target = await context.target('test')
  await using leaseSession = await context.target('test')
  await using lease = await acquireLease(leaseSession, 'cutover')
  await prepareWayBack(context, 'an earlier attempt', lease!, target)
  await way.onTarget(`update pgflex.lease set expires_at = now() - interval '1 s' where name = 'cutover'`)
  await using nextTarget = await context.target('test')
  await using nextSession = await context.target('test')
  await using next = await acquireLease(nextSession, 'cutover')
  await prepareWayBack(context, 'the next attempt', next!, nextTarget)
  const isThere = async (): Promise<void> =>
    expect((await leftOf(way)).filter((left) => /^target: slot|^source: schema/.test(left))).toHaveLength(2)
  await expect(removeWayBack(context, { lease: lease!, target })).rejects.toThrow(/terminat|not queryable/i)
  await isThere()
  // Nor does one that goes on with calling off.
  await context.status({ calledOff: { attempt: 'an earlier attempt', reason: 'It failed.', frozen: false } })
  expect(await cutoverDatabase(context)).toEqual({ next: 'slice' })
  await isThere()
  expect((await way.backStatus()).phase).toBe('CreatingSlot')
})

test('a cutover that is cancelled takes its way back with it', async () => {
  await using way = await readyToCutOver(pair, 'cancelled', { ddl: TABLES, rows: ROWS })
  await way.onTarget('delete from t where id = 5')
  // As a host that dies after the way back was prepared, before the cutover was called off.
  const context = await way.context()
  await expect(cutoverDatabase({ ...context, draining: abortedBy(way, 'freeze writes') })).rejects.toThrow(
    'The host stops.',
  )
  expect((await leftOf(way)).filter((left) => left.startsWith('target: slot'))).toHaveLength(1)
  await endDatabase(await way.context(), { state: 'Canceled' })
  expect(await leftOf(way)).toEqual([])
  expect(await isFrozen(way, 'source')).toBe(false)
})

/** A signal that is aborted when a step of the cutover is done. */
function abortedBy(way: WithWayBack, step: string): AbortSignal {
  const abort = new AbortController()
  const { documents, key, database } = way.migration.context
  const look = async (): Promise<void> => {
    const { cutover } = await readDatabaseStatus(documents, key, database)
    if (cutover?.steps.some(({ name }) => name === step)) abort.abort(new Error('The host stops.'))
    else setTimeout(() => void look(), 2)
  }
  void look()
  return abort.signal
}
