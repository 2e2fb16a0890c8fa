import { afterAll, beforeAll, expect, test } from 'vitest'
import { beginDrain } from '../../../migration/cutover/drain.ts'
import { takeEndLsn } from '../../../migration/cutover/end-lsn.ts'
import { refuseLateWrites } from '../../../migration/cutover/late-writes.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { sourceEnd, startFollowing } from '../replicate/following.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const TABLES = { ddl: 'create table t (id int primary key, v text); create unlogged table u (id int)' }

test('a drain follows before its end is known, ends there, and leaves what comes after it in its stream', async () => {
  await using following = await startFollowing(pair, 'drained', TABLES)
  const { app, context } = following
  await using drain = beginDrain(context)
  await app.query(`insert into t values (1)`)
  await drain.near(await sourceEnd(context))
  expect(await following.onTarget('select count(*) from public.t')).toBe('1')
  await app.query(`insert into t values (2)`)
  const end = await takeEndLsn(context)
  drain.endAt(end)
  await drain.to(end)
  expect(await following.onTarget('select count(*) from public.t')).toBe('2')
  expect(drain.after()).toBeDefined()
  const slots = async (): Promise<unknown[]> =>
    (await app.query(`select active_pid from pg_replication_slots where database = 'drained'`)).rows
  const before = await slots()
  await app.query(`insert into u values (1); select pg_logical_emit_message(true, 'somebody', 'else')`)
  await refuseLateWrites(context, drain.after())
  // In the very stream: no new one was opened.
  expect(await slots()).toEqual(before)
  await app.query(`insert into t values (3)`)
  await expect(refuseLateWrites(context, drain.after())).rejects.toMatchObject({ code: 'LateWrites' })
})

test.each(['insert', 'update', 'delete', 'truncate'])('%s after the end is late', async (kind) => {
  await using following = await startFollowing(pair, `late_${kind}`, TABLES)
  const { app, context } = following
  await app.query(`insert into t values (1)`)
  await following.expectEqual()
  await using drain = beginDrain(context)
  const end = await takeEndLsn(context)
  drain.endAt(end)
  await drain.to(end)
  const statements = { insert: 'insert into t values (2)', update: `update t set v = 'x'`, delete: 'delete from t' }
  await app.query(kind in statements ? statements[kind as keyof typeof statements] : 'truncate t')
  await expect(refuseLateWrites(context, drain.after())).rejects.toMatchObject({ code: 'LateWrites' })
})

test('a change after the end that was applied before the end was told is late, too', async () => {
  await using following = await startFollowing(pair, 'overshot', TABLES)
  const { app, context } = following
  await using drain = beginDrain(context)
  const end = await takeEndLsn(context)
  await app.query(`insert into t values (1)`)
  await drain.near(await sourceEnd(context))
  await expect(drain.to(end)).rejects.toMatchObject({ code: 'LateWrites' })
})

test('late changes are found without the stream that the drain has left, and in spite of one that is broken', async () => {
  await using following = await startFollowing(pair, 'broken', TABLES)
  const { app, context } = following
  await using drain = beginDrain(context)
  const end = await takeEndLsn(context)
  drain.endAt(end)
  await drain.to(end)
  await app.query(`insert into t values (1)`)
  await pair.source.connect().then(async (admin) => {
    await admin.query(`select pg_terminate_backend(active_pid) from pg_replication_slots where database = 'broken'`)
    await admin.end()
  })
  await expect(refuseLateWrites(context, drain.after())).rejects.toMatchObject({ code: 'LateWrites' })
  await app.query(`insert into t values (2)`)
  await expect(refuseLateWrites(context, undefined)).rejects.toMatchObject({ code: 'LateWrites' })
  await refuseLateWrites(context, undefined)
})

test('a late change is found when whoever applied it died before it could tell', async () => {
  await using following = await startFollowing(pair, 'applied', TABLES)
  const { app, context } = following
  await app.query(`insert into t values (1)`)
  await following.expectEqual()
  const end = await takeEndLsn(context)
  await refuseLateWrites(context, undefined, end)
  await app.query(`insert into t values (2)`)
  // As the drain does it before the end is told, or an earlier check.
  await following.expectEqual()
  await expect(refuseLateWrites(context, undefined, end)).rejects.toMatchObject({ code: 'LateWrites' })
  await refuseLateWrites(context, undefined, await takeEndLsn(context))
})

test('a column that is added after the end comes over, although no row shows it', async () => {
  await using following = await startFollowing(pair, 'altered', TABLES)
  const { app, context } = following
  await using drain = beginDrain(context)
  const end = await takeEndLsn(context)
  drain.endAt(end)
  await drain.to(end)
  await app.query(`alter table t add late int`)
  await refuseLateWrites(context, drain.after())
  expect(
    await following.onTarget(
      `select count(*) from pg_attribute where attrelid = 'public.t'::regclass and attname = 'late'`,
    ),
  ).toBe('1')
})

test('a drain that is given up ends soon, also while a large transaction is under way', async () => {
  await using following = await startFollowing(pair, 'given_up', TABLES)
  const { app, context } = following
  const drain = beginDrain(context)
  await drain.near(await sourceEnd(context))
  await app.query(`insert into t select g, repeat('x', 100) from generate_series(1, 200000) g`)
  const began = performance.now()
  await drain[Symbol.asyncDispose]()
  expect(performance.now() - began).toBeLessThan(10_000)
  await following.expectEqual()
})
