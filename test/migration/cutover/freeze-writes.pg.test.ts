import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { takeEndLsn } from '../../../migration/cutover/end-lsn.ts'
import { readLongTransactions } from '../../../migration/cutover/freeze-obstacles.ts'
import { freezeWrites, readFreezeSetting, unfreezeWrites } from '../../../migration/cutover/freeze-writes.ts'
import { parseLsn } from '../../../migration/lsn.ts'
import {
  APP_USER,
  createSourceDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
  type TestMigration,
} from '../../support/servers.ts'

let pair: ServerPair
let migration: TestMigration

beforeAll(async () => {
  pair = await startServerPair(13, 17, {
    sourceSettings: { max_prepared_transactions: '5', autovacuum_vacuum_cost_delay: '100' },
  })
  await createSourceDatabase(pair, 'shop', 'create table t (id int primary key)')
  migration = await createTestMigration(pair, 'shop')
})

afterAll(async () => {
  await migration?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
})

async function application(): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: pair.source.port,
    user: APP_USER,
    password: pair.appPassword,
    database: 'shop',
  })
  client.on('error', () => {})
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end().catch(() => {}) })
}

test('a freeze ends the sessions of others and makes new ones read-only, and can be undone', async () => {
  await using before = await application()
  await before.query('begin; insert into t values (1)')
  await using source = await migration.context.source('test')
  const from = await readFreezeSetting(source)
  expect(from).toEqual({ previous: null })

  await freezeWrites(migration.context)
  await freezeWrites(migration.context)
  await expect(before.query('commit')).rejects.toThrow(/terminat|not queryable/i)
  {
    await using during = await application()
    await expect(during.query('insert into t values (2)')).rejects.toMatchObject({ code: '25006' })
  }
  await unfreezeWrites(migration.context, from)
  await using after = await application()
  await after.query('insert into t values (3)')
  expect((await after.query('select id from t')).rows).toEqual([{ id: 3 }])
})

test('what the database had before is restored', async () => {
  await using source = await migration.context.source('test')
  await source.query('alter database shop set default_transaction_read_only = off')
  const from = await readFreezeSetting(source)
  expect(from).toEqual({ previous: 'off' })
  await freezeWrites(migration.context)
  expect(await readFreezeSetting(source)).toEqual({ previous: 'on' })
  await unfreezeWrites(migration.context, from)
  expect(await readFreezeSetting(source)).toEqual({ previous: 'off' })
})

test('the end LSN is at or after a commit that has not been flushed, also in a frozen database', async () => {
  {
    await using client = await application()
    await client.query('set synchronous_commit = off')
    await client.query('insert into t values (10)')
  }
  // Connected to another database: a freeze may not end the sessions of a superuser.
  await using admin = await pair.source.connect()
  const { rows } = await admin.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn')
  await freezeWrites(migration.context)
  const end = await takeEndLsn(migration.context)
  expect(end).toBeGreaterThanOrEqual(parseLsn(rows[0]!.lsn))
  const flushed = await admin.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn')
  expect(parseLsn(flushed.rows[0]!.lsn)).toBeGreaterThanOrEqual(end)
  await unfreezeWrites(migration.context, { previous: null })
})

test('a session of a superuser is left while it does not write, and is named when it does', async () => {
  await using admin = await pair.source.connect('shop')
  await admin.query('begin; select * from t')
  expect(await freezeWrites(migration.context)).toEqual({ tolerated: ['postgres'] })
  await admin.query('insert into t values (20)')
  await expect(freezeWrites(migration.context)).rejects.toMatchObject({
    code: '603111',
    message: expect.stringContaining('postgres'),
    hint: expect.stringContaining('pg_signal_backend'),
  })
  await admin.query('rollback')
  await unfreezeWrites(migration.context, { previous: null })
})

test('what would still let writes in is named: prepared transactions and settings of roles', async () => {
  await using admin = await pair.source.connect('shop')
  await admin.query(`begin; insert into t values (30); prepare transaction 'pending'`)
  await expect(freezeWrites(migration.context)).rejects.toMatchObject({
    code: 'WritersLeft',
    message: expect.stringContaining('pending'),
  })
  await admin.query(`rollback prepared 'pending'`)
  for (const off of ['off', 'f']) {
    await admin.query(`alter role ${APP_USER} in database shop set default_transaction_read_only = ${off}`)
    await expect(freezeWrites(migration.context)).rejects.toMatchObject({
      code: 'WritersLeft',
      message: expect.stringContaining(`alter role ${APP_USER} in database shop reset default_transaction_read_only`),
    })
  }
  await admin.query(`alter role ${APP_USER} in database shop reset default_transaction_read_only`)
  await freezeWrites(migration.context)
  await unfreezeWrites(migration.context, { previous: null })
})

test('a transaction that has run for a while is named, and no other session', async () => {
  await using admin = await pair.source.connect('shop')
  await using app = await application()
  await using idle = await application()
  await idle.query('select')
  await app.query(`set application_name = 'night batch'; begin; select`)
  const { rows } = await app.query<{ pid: number }>('select pg_backend_pid() as pid')
  expect(await readLongTransactions(admin, 0)).toEqual([`${APP_USER} night batch (pid ${rows[0]!.pid}), 0 min`])
  expect(await readLongTransactions(admin)).toEqual([])
})

test('background processes of the server do not stand in the way', async () => {
  await using admin = await pair.source.connect()
  await admin.query(`alter system set autovacuum_naptime = 1`)
  await admin.query('select pg_reload_conf()')
  await using shop = await pair.source.connect('shop')
  await shop.query(
    `create table churn as select n, repeat('x', 500) as v from generate_series(1, 100000) as n; delete from churn`,
  )
  await shop.end()
  await expect
    .poll(
      async () =>
        (
          await admin.query(
            `select from pg_stat_activity where datname = 'shop' and backend_type = 'autovacuum worker'`,
          )
        ).rowCount,
      { timeout: 30_000 },
    )
    .toBeGreaterThan(0)
  await freezeWrites(migration.context)
  await unfreezeWrites(migration.context, { previous: null })
})
