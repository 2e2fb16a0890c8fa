import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Connection } from '../../../migration/connect.ts'
import { keepSessions } from '../../../migration/cutover/kept-sessions.ts'
import {
  createSourceDatabase,
  createTargetDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
  type TestMigration,
} from '../../support/servers.ts'

let pair: ServerPair
let migration: TestMigration

beforeAll(async () => {
  pair = await startServerPair(13, 17)
  await createSourceDatabase(pair, 'kept', '')
  await createTargetDatabase(pair, 'kept')
  migration = await createTestMigration(pair, 'kept')
})

afterAll(async () => {
  await migration?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
})

async function pid(connection: Connection): Promise<string> {
  return (await connection.query<{ pid: string }>('select pg_backend_pid() as pid')).rows[0]!.pid
}

/** All settings of a session but for its name, and what it holds. */
async function state(connection: Connection): Promise<unknown[]> {
  const { rows: settings } = await connection.query(
    `select name, setting from pg_settings where name not in ('application_name', 'transaction_isolation') order by 1`,
  )
  const { rows: held } = await connection.query(
    `select (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
            (select count(*) from pg_prepared_statements) as statements,
            (select count(*) from pg_class where oid = to_regclass('pg_temp.left_behind')) as tables`,
  )
  return [settings, held]
}

test.each(['source', 'target'] as const)(
  'a session of the %s that is given back is used again, as new and under its new name',
  async (side) => {
    await using kept = keepSessions(migration.context)
    await kept.open()
    const fresh = await migration.context[side]('fresh')
    const asNew = await state(fresh)
    await fresh.end()
    const pids = new Set<string>()
    for (let use = 0; use < 6; use++) {
      await using session = await kept.context[side](`use ${use}`)
      pids.add(await pid(session))
      const { rows } = await session.query(`select current_setting('application_name') as name`)
      expect(rows).toEqual([{ name: `pgflex use ${use}` }])
      expect(await state(session)).toEqual(asNew)
      await session.query(
        `set lock_timeout = '3s'; set search_path = public; set statement_timeout = 7; set timezone = 'Asia/Kabul'`,
      )
      await session.query(`select pg_advisory_lock(7); create temp table left_behind (); prepare p as select 1`)
      await session.query('set client_encoding = latin1')
    }
    expect(pids.size).toBe(2)
  },
)

test('a session is not used again with a transaction open, or once it was cut off', async () => {
  await using kept = keepSessions(migration.context)
  await kept.open()
  const used: string[] = []
  for (const spoil of ['begin', 'select pg_terminate_backend(pg_backend_pid())']) {
    const session = await kept.context.target('spoiled')
    used.push(await pid(session))
    await session.query(spoil).catch(() => {})
    await session.end()
  }
  for (let use = 0; use < 3; use++) {
    await using session = await kept.context.target('next')
    expect(used).not.toContain(await pid(session))
  }
})

test('one that was ended while nobody had it is replaced, and a borrower who ends twice ends nobody else', async () => {
  await using kept = keepSessions(migration.context)
  await kept.open()
  {
    await using admin = await pair.target.connect()
    await admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ 'kept for the cutover'`,
    )
  }
  const first = await kept.context.target('first')
  const one = await pid(first)
  await first.end()
  const second = await kept.context.target('second')
  expect(await pid(second)).toBe(one)
  await first.end()
  await first[Symbol.asyncDispose]()
  const third = await kept.context.target('third')
  expect(await pid(third)).not.toBe(one)
  expect(await pid(second)).toBe(one)
  await second.end()
  await third.end()
})

test('nothing is left of them at the end', async () => {
  {
    await using kept = keepSessions(migration.context)
    await kept.open()
    await using session = await kept.context.source('some')
    await session.query('select 1')
  }
  for (const server of [pair.source, pair.target]) {
    await using admin = await server.connect()
    await expect
      .poll(
        async () => (await admin.query(`select from pg_stat_activity where application_name like 'pgflex %'`)).rowCount,
      )
      .toBe(0)
  }
})
