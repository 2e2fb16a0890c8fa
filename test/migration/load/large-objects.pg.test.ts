import { afterAll, beforeAll, expect, test } from 'vitest'
import type { DatabaseContext } from '../../../migration/context.ts'
import { acquireLease, type Lease } from '../../../migration/control/lease.ts'
import { copyLargeObjects, type LargeObjectPass } from '../../../migration/load/copy-large-objects.ts'
import { openCopySessions } from '../../../migration/load/copy-session.ts'
import { storeRanges } from '../../../migration/load/large-object-range.ts'
import { copyLargeObjectsAgain, loadLargeObjects } from '../../../migration/load/large-objects.ts'
import { readTargetRoles } from '../../../migration/schema/roles.ts'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import { APP_USER, SOURCE_USER, startServerPair, TARGET_USER, type ServerPair } from '../../support/servers.ts'
import { createLoadDatabase, expectNoLeaks, undrained } from './load-database.ts'
import { describeLargeObjects, expectEqualLargeObjects } from './large-objects.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
  await using source = await pair.source.connect()
  await source.query('create role reader; create role clerk; create role only_on_source')
  await using target = await pair.target.connect()
  // The migrating role has made the roles that both sides have, and not the owner "clerk" of the source.
  await target.query(`set createrole_self_grant = 'set, inherit'; set role ${TARGET_USER};
    create role reader; create role ${APP_USER}`)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

async function onSource(database: string, sql: string): Promise<Record<string, unknown>[]> {
  await using source = await pair.source.connect(database)
  return (await source.query<Record<string, unknown>>(sql)).rows
}

async function onTarget(database: string, sql: string): Promise<Record<string, unknown>[]> {
  await using target = await pair.target.connect(database)
  return (await target.query<Record<string, unknown>>(sql)).rows
}

/** What a cutover does while the source is frozen. */
async function copyAgain(context: DatabaseContext, attempt = 'now'): Promise<{ objects: number; bytes: number }> {
  await using session = await context.target('cutover lease')
  await using lease = (await acquireLease(session, 'cutover')) as Lease
  return await copyLargeObjectsAgain(context, lease, attempt)
}

/** Loids from 20,001: below those that the server gives out by itself in a young database. */
const MANY = `
  select lo_from_bytea(20000 + n, convert_to(repeat(md5(n::text), n % 70), 'UTF8')) from generate_series(1, 1200) as n;
  select lo_create(30001);
  select lo_from_bytea(30002, '\\x00ff00');
  select lo_put(30002, 5000000, '\\x01');`

test('large objects arrive with content, owner, rights and comments under their oids', async () => {
  await using migration = await createLoadDatabase(pair, 'many', {
    ddl: '',
    data: `${MANY}
      grant select on large object 20001 to reader; grant select, update on large object 20002 to public;
      grant select on large object 20003 to reader with grant option;
      revoke update on large object 20004 from app; comment on large object 20005 is 'It''s a photo';
      grant select on large object 20006 to only_on_source`,
  })
  await onSource(
    'many',
    `alter large object 30002 owner to clerk; grant select on large object 30002 to ${SOURCE_USER}`,
  )
  const { context } = migration
  expect(await loadLargeObjects(context)).toEqual({ finished: true })
  const objects = await expectEqualLargeObjects(pair, 'many', { clerk: TARGET_USER, only_on_source: undefined })
  expect(objects['20003']).toMatchObject({ owner: APP_USER, rights: expect.stringContaining('reader=r*') })
  expect(objects['20005']).toMatchObject({ comment: `It's a photo` })
  expect(objects['30001']).toMatchObject({ size: '0' })
  expect(objects['30002']).toMatchObject({ size: '5000001', owner: 'clerk' })
  const { warnings } = await readDatabaseStatus(context.documents, context.key, 'many')
  expect(warnings.toSorted()).toEqual([
    '1 large object keeps the migrating role as owner: role "clerk" does not exist on the target.',
    'Grants on 1 large object were left out: role "migrator" does not exist on the target.',
    'Grants on 1 large object were left out: role "only_on_source" does not exist on the target.',
  ])
  // Nothing is left to be done, not even a look.
  const before = await onTarget('many', 'select max(xmin::text::int8) from pg_largeobject')
  expect(await loadLargeObjects(context)).toEqual({ finished: true })
  expect(await copyAgain(context)).toEqual({ objects: 0, bytes: 0 })
  expect(await onTarget('many', 'select max(xmin::text::int8) from pg_largeobject')).toEqual(before)
  await expectNoLeaks(pair)
})

test('what has changed since the load is found and copied again: content, length, rights, new and dropped ones', async () => {
  await using migration = await createLoadDatabase(pair, 'changed', { ddl: '', data: MANY })
  const { context } = migration
  await loadLargeObjects(context)
  await using app = await pair.source.connect('changed')
  await app.query(`set role ${APP_USER};
    select lo_put(20010, 3, 'changed'); select lo_put(20011, 40000, 'longer');
    select lo_truncate(lo_open(20069, x'20000'::int), 7); select lo_truncate(lo_open(20068, x'20000'::int), 0);
    select lo_unlink(20013); select lo_from_bytea(20014000, 'new'); select lo_from_bytea(4294967295, 'last');
    grant select on large object 20015 to reader; comment on large object 20016 is 'later'`)
  await app.query(`reset role; alter large object 20017 owner to clerk;
    grant select on large object 20017 to ${SOURCE_USER}`)
  // Oids above those of the load, more than one range of them.
  await app.query(`set role ${APP_USER}; select lo_from_bytea(40000 + n, 'x') from generate_series(1, 600) as n`)
  const { objects, bytes } = await copyAgain(context)
  expect(objects).toBe(2 + 1 + 2 + 600)
  expect(bytes).toBeLessThan(45_000)
  await expectEqualLargeObjects(pair, 'changed', { clerk: TARGET_USER })
  // The same attempt again does nothing; another one looks at everything.
  await app.query(`select lo_unlink(20020); revoke select on large object 20015 from reader`)
  expect(await copyAgain(context)).toEqual({ objects, bytes })
  expect(await copyAgain(context, 'later')).toEqual({ objects: 1, bytes: 0 })
  await expectEqualLargeObjects(pair, 'changed', { clerk: TARGET_USER })
})

test('an owner without its own rights does not keep a changed object from being copied', async () => {
  await using migration = await createLoadDatabase(pair, 'shut', {
    ddl: '',
    data: `select lo_from_bytea(20001, 'a'); grant select on large object 20001 to ${SOURCE_USER};
      revoke all on large object 20001 from ${APP_USER}; create table public.t (id int)`,
  })
  await loadLargeObjects(migration.context)
  await onSource('shut', `select lo_put(20001, 0, 'b')`)
  expect(await copyAgain(migration.context)).toEqual({ objects: 1, bytes: 1 })
  await expectEqualLargeObjects(pair, 'shut', { [SOURCE_USER]: undefined })
})

test('a large object that may not be read is named with its grant, the others arrive, and the cutover waits for it', async () => {
  await using migration = await createLoadDatabase(pair, 'unreadable', { ddl: '', data: MANY })
  await onSource('unreadable', 'alter large object 20007 owner to clerk')
  const { context } = migration
  expect(await loadLargeObjects(context)).toEqual({ finished: true })
  const objects = await describeLargeObjects(pair.target, 'unreadable')
  expect(Object.keys(objects)).toHaveLength(1201)
  expect(objects['20007']).toBeUndefined()
  const { warnings } = await readDatabaseStatus(context.documents, context.key, 'unreadable')
  expect(warnings).toContainEqual(
    'User "migrator" may not read large object 20007. Cutover is refused until it may. ' +
      'Run on the source: grant select on large object 20007 to "migrator"; or, for all of an owner: grant <owner> to "migrator";',
  )
  await expect(copyAgain(context)).rejects.toMatchObject({ code: 'LargeObjectsUnreadable' })
  await onSource('unreadable', 'grant select on large object 20007 to migrator')
  expect(await copyAgain(context)).toMatchObject({ objects: 1 })
  await expectEqualLargeObjects(pair, 'unreadable', { clerk: TARGET_USER, migrator: undefined })

  await using offline = await createLoadDatabase(
    pair,
    'unreadable offline',
    { ddl: '', data: MANY },
    { key: 'offline', properties: { migrationMode: 'Offline' } },
  )
  await onSource('unreadable offline', 'alter large object 20007 owner to clerk')
  await expect(loadLargeObjects(offline.context)).rejects.toMatchObject({
    code: 'LargeObjectsUnreadable',
    hint: expect.stringContaining('grant select on large object 20007 to "migrator";'),
  })
  expect(Object.keys(await describeLargeObjects(pair.target, 'unreadable offline'))).toHaveLength(1201)
})

test('two loads at once, and one that was drained, leave each object there once', async () => {
  await using migration = await createLoadDatabase(
    pair,
    'twice',
    { ddl: '', data: MANY },
    { pgflex: { copyJobs: 2 }, properties: { migrationMode: 'Offline' } },
  )
  const { context } = migration
  const draining = loadLargeObjects(context)
  await expect.poll(async () => (await onTarget('twice', PROGRESS)).length).toBe(1)
  await expect(loadLargeObjects(undrained(context))).rejects.toMatchObject({ code: 'Busy', retryable: true })
  migration.drain()
  expect(await draining).toEqual({ finished: false })
  // In a range that is done: Offline, all objects are of one moment, so it is looked at again.
  await onSource('twice', `select lo_put(20001, 0, 'X')`)
  expect(await loadLargeObjects(undrained(context))).toEqual({ finished: true })
  await expectEqualLargeObjects(pair, 'twice')
  await expectNoLeaks(pair)
})

const PROGRESS = 'select from pgflex.large_object_range having count(*) filter (where done) > 0'

test('a holder that has lost a lease commits nothing more', async () => {
  await using migration = await createLoadDatabase(pair, 'fenced', { ddl: '', data: MANY })
  const { context } = migration
  await using session = await context.target('cutover lease')
  await using lease = (await acquireLease(session, 'cutover')) as Lease
  await using sessions = await openCopySessions(context, 'test')
  const range = { lower: 0, upper: 40_000 }
  await storeRanges(session, [lease], 'test', [range])
  const pass: LargeObjectPass = {
    pass: 'test',
    leases: [lease],
    roles: await readTargetRoles(session),
    digest: 'md5',
    pace: () => 0,
  }
  await onTarget('fenced', 'update pgflex.lease set fence = fence + 1')
  await expect(copyLargeObjects(sessions, range, pass)).rejects.toMatchObject({ code: 'LeaseLost' })
  await expect(copyLargeObjectsAgain(context, lease, 'now')).rejects.toMatchObject({ code: 'LeaseLost' })
  await sessions.cut()
  expect(await describeLargeObjects(pair.target, 'fenced')).toEqual({})
})

test('a load that stood still from before the freeze until after it writes nothing of what it has read', async () => {
  await using migration = await createLoadDatabase(pair, 'frozen', { ddl: '', data: MANY })
  const { context } = migration
  await using session = await context.target('load lease')
  const lease = (await acquireLease(session, 'large-objects')) as Lease
  await using sessions = await openCopySessions(context, 'large-objects 0')
  const range = { lower: 0, upper: 40_000 }
  await storeRanges(session, [lease], 'load', [range])
  // It has read its snapshot, and its lease runs out.
  await using control = await context.target('test')
  const stopped = await openCopySessions(context, 'large-objects 1')
  await using _stopped = stopped
  await stopped.reader.query(`begin isolation level repeatable read; select 1; select pg_export_snapshot()`)
  const { rows } = await stopped.reader.query<{ name: string }>('select pg_export_snapshot() as name')
  await onSource('frozen', `select lo_put(20001, 0, 'X')`)
  await session.end()
  expect(await copyAgain(context)).toMatchObject({ objects: 1202 })
  const pass: LargeObjectPass = {
    pass: 'load',
    leases: [lease],
    roles: await readTargetRoles(control),
    digest: 'md5',
    pace: () => 0,
    snapshot: rows[0]!.name,
  }
  // Its sessions were ended; so are those that it opens under the same lease.
  await expect(copyLargeObjects(sessions, range, pass)).rejects.toThrow(/terminat|not queryable/i)
  await sessions.cut()
  await using others = await openCopySessions(context, 'test')
  await expect(copyLargeObjects(others, range, pass)).rejects.toMatchObject({ code: 'LeaseLost' })
  await others.cut()
  await expectEqualLargeObjects(pair, 'frozen')
})
