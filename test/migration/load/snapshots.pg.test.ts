import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planLoad } from '../../../migration/load/plan-load.ts'
import { parseLsn } from '../../../migration/lsn.ts'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { createLoadDatabase, expectEqual, expectNoLeaks, tableCopies, undrained } from './load-database.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** Runs statements of the application one after the other, until the end of the block. */
async function workload(database: string, statement: (n: number) => string): Promise<AsyncDisposable> {
  const client = await pair.source.connect(database)
  let going = true
  const running = (async () => {
    for (let n = 0; going; n++) await client.query(statement(n))
  })()
  return {
    async [Symbol.asyncDispose]() {
      going = false
      try {
        await running
      } finally {
        await client.end()
      }
    },
  }
}

/** Inserts by table that committed before an LSN, as the change stream tells them. */
async function insertsBefore(database: string, points: Record<string, bigint>): Promise<Record<string, number>> {
  await using admin = await pair.source.connect(database)
  const { rows } = await admin.query<{ data: Buffer }>(
    `select data from pg_logical_slot_peek_binary_changes('probe', null, null, 'proto_version', '1', 'publication_names', 'probe')`,
  )
  const names = new Map<number, string>()
  const counts: Record<string, number> = {}
  let commit = 0n
  for (const { data } of rows) {
    const kind = String.fromCharCode(data[0]!)
    if (kind === 'B') commit = data.readBigUInt64BE(1)
    if (kind === 'R') {
      const [schema, table] = data.subarray(5).toString('latin1').split('\0')
      names.set(data.readInt32BE(1), `${schema}.${table}`)
    }
    if (kind === 'I') {
      const name = names.get(data.readInt32BE(1))!
      counts[name] ??= 0
      if (commit < points[name]!) counts[name] += 1
    }
  }
  return counts
}

test('a table holds exactly what was committed before its P', async () => {
  const tables = ['a', 'b', 'c', 'd']
  const rows = 8_000
  await using migration = await createLoadDatabase(pair, 'points', {
    ddl: tables.map((t) => `create table public.${t} (id bigserial, body text default repeat('x', 200))`).join(';'),
    data: tables.map((t) => `insert into public.${t} select from generate_series(1, ${rows})`).join(';'),
  })
  const { context } = migration
  expect((await planLoad(context)).batches).toBe(4)
  {
    await using admin = await pair.source.connect('points')
    await admin.query('create publication probe for all tables')
    await admin.query(`select pg_create_logical_replication_slot('probe', 'pgoutput')`)
  }
  {
    await using _one = await workload(
      'points',
      (n) => `insert into public.${tables[n % 4]} select from generate_series(1, 3)`,
    )
    await using _two = await workload('points', () =>
      tables.map((t) => `insert into public.${t} default values`).join(';'),
    )
    expect(await copyTables(context, { worker: 0 })).toMatchObject({ copied: 4, remaining: 0 })
  }
  const copies = await tableCopies(pair, 'points')
  const points = Object.fromEntries(Object.entries(copies).map(([name, copy]) => [name, parseLsn(copy.snapshot_lsn!)]))
  expect(new Set(Object.values(points)).size).toBe(4)
  const before = await insertsBefore('points', points)
  const after = await insertsBefore('points', Object.fromEntries(Object.keys(points).map((name) => [name, 1n << 63n])))
  for (const [name, copy] of Object.entries(copies)) {
    expect({ name, rows: Number(copy.rows_done) }).toEqual({ name, rows: rows + before[name]! })
    expect(before[name]!).toBeLessThan(after[name]!)
  }
  {
    await using admin = await pair.source.connect('points')
    await admin.query(`select pg_drop_replication_slot('probe')`)
  }
  await expectNoLeaks(pair)
})

test('a load that finds no free replication slot says so and goes on when there is one', async () => {
  await using migration = await createLoadDatabase(pair, 'slots', {
    ddl: 'create table public.t (id int)',
    data: 'insert into public.t values (1)',
  })
  const { context } = migration
  await planLoad(context)
  await using admin = await pair.source.connect()
  await admin.query(
    `select pg_create_physical_replication_slot('other_' || i) from generate_series(1, current_setting('max_replication_slots')::int) i`,
  )
  const message = async (): Promise<string | undefined> =>
    (await readDatabaseStatus(context.documents, context.key, 'slots')).message
  const copying = copyTables(context, { worker: 0 })
  try {
    await expect.poll(message, { timeout: 10_000 }).toMatch(/^All replication slots of the source are in use/)
  } finally {
    await admin.query(
      `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like 'other_%'`,
    )
  }
  expect(await copying).toEqual({ copied: 1, errored: 0, remaining: 0 })
  expect(await message()).toBeUndefined()
  await expectEqual(pair, 'slots')
})

test('a slot that waits for a long transaction is explained in the status', async () => {
  await using migration = await createLoadDatabase(pair, 'explained', { ddl: 'create table public.t (id int)' })
  const { context } = migration
  await planLoad(context)
  const message = async (): Promise<string | undefined> =>
    (await readDatabaseStatus(context.documents, context.key, 'explained')).message
  await using application = await pair.source.connect('explained')
  await application.query('begin; insert into public.t values (1)')
  const copying = copyTables(context, { worker: 0 })
  try {
    await expect
      .poll(message, { timeout: 20_000 })
      .toMatch(/^Waiting for the transactions that are running on the source/)
  } finally {
    await application.query('commit')
  }
  expect(await copying).toMatchObject({ copied: 1 })
  expect(await message()).toBeUndefined()
})

test('a snapshot outlives the timeouts that the source sets for its sessions', async () => {
  await using migration = await createLoadDatabase(pair, 'patient', {
    ddl: 'create table public.a (id int); create table public.b (id int)',
    data: 'insert into public.a values (1); insert into public.b values (2)',
  })
  const { context } = migration
  await planLoad(context)
  await using admin = await pair.source.connect()
  const timeouts = ['wal_sender_timeout', 'idle_in_transaction_session_timeout', 'statement_timeout']
  try {
    for (const name of timeouts) await admin.query(`alter system set ${name} = '500ms'`)
    await admin.query('select pg_reload_conf()')
    await using somebody = await pair.target.connect('patient')
    await somebody.query('begin; lock table public.a')
    const copying = copyTables(context, { worker: 0 })
    const idleSeconds = async (): Promise<number> => {
      const { rows } = await admin.query<{ idle: string }>(
        `select extract(epoch from now() - state_change) as idle from pg_stat_activity
          where application_name like 'pgflex copy-batch-1 snapshot'`,
      )
      return Number(rows[0]?.idle ?? 0)
    }
    await expect.poll(idleSeconds, { timeout: 20_000 }).toBeGreaterThan(2)
    await somebody.query('rollback')
    expect(await copying).toMatchObject({ copied: 2, remaining: 0 })
  } finally {
    for (const name of timeouts) await admin.query(`alter system reset ${name}`)
    await admin.query('select pg_reload_conf()')
  }
  const copies = Object.values(await tableCopies(pair, 'patient'))
  expect(copies[0]!.snapshot_lsn).toBe(copies[1]!.snapshot_lsn)
  await expectEqual(pair, 'patient')
})

const ACCOUNTS = {
  ddl: 'create table public.a (id int primary key, balance int); create table public.b (id int primary key, balance int)',
  data: 'insert into public.a select i, 1000 from generate_series(1, 20000) i; insert into public.b select i, 1000 from generate_series(1, 20000) i; analyze',
}

/** Money only ever moves between the tables: at any one moment it is the same in all. */
async function money(database: string): Promise<number> {
  await using target = await pair.target.connect(database)
  const { rows } = await target.query<{ sum: string }>(
    'select (select sum(balance) from public.a) + (select sum(balance) from public.b) as sum',
  )
  return Number(rows[0]!.sum)
}

const transfer = (n: number): string => `begin;
  update public.a set balance = balance - 7 where id = ${(n * 31) % 20_000};
  update public.b set balance = balance + 7 where id = ${(n * 31) % 20_000};
  commit`

test('an Offline load is of one moment, under a workload that moves money between tables', async () => {
  await using migration = await createLoadDatabase(pair, 'offline', ACCOUNTS, {
    properties: { migrationMode: 'Offline' },
    pgflex: { copyJobs: 2 },
  })
  const { context } = migration
  await planLoad(context)
  expect(await copyTables(context, { worker: 1 })).toEqual({ copied: 0, errored: 0, remaining: 2 })
  {
    await using _transfers = await workload('offline', transfer)
    expect(await copyTables(context, { worker: 0 })).toEqual({ copied: 2, errored: 0, remaining: 0 })
  }
  expect(await money('offline')).toBe(40_000_000)
  await expectNoLeaks(pair)
})

test('an Offline load that was interrupted begins anew, so that it still is of one moment', async () => {
  await using migration = await createLoadDatabase(pair, 'restarted', ACCOUNTS, {
    properties: { migrationMode: 'Offline' },
    pgflex: { copyJobs: 2 },
  })
  const { context } = migration
  await planLoad(context)
  await using _transfers = await workload('restarted', transfer)
  {
    await using somebody = await pair.target.connect('restarted')
    await somebody.query('begin; lock table public.b')
    const copying = copyTables(context, { worker: 0 })
    await expect
      .poll(async () => (await tableCopies(pair, 'restarted'))['public.a']!.state, { timeout: 20_000 })
      .toBe('completed')
    migration.drain()
    expect(await copying).toEqual({ copied: 1, errored: 0, remaining: 1 })
  }
  expect(await copyTables(undrained(context), { worker: 0 })).toEqual({ copied: 2, errored: 0, remaining: 0 })
  expect(await money('restarted')).toBe(40_000_000)
  await expectNoLeaks(pair)
})

test('an Offline load whose snapshot is lost under way begins anew by itself', async () => {
  await using migration = await createLoadDatabase(pair, 'resnapshot', ACCOUNTS, {
    properties: { migrationMode: 'Offline' },
    pgflex: { copyJobs: 1 },
  })
  const { context } = migration
  await planLoad(context)
  await using _transfers = await workload('resnapshot', transfer)
  await using somebody = await pair.target.connect('resnapshot')
  await somebody.query('begin; lock table public.b')
  const copying = copyTables(context, { worker: 0 })
  await expect
    .poll(async () => (await tableCopies(pair, 'resnapshot'))['public.a']!.state, { timeout: 20_000 })
    .toBe('completed')
  {
    await using admin = await pair.source.connect()
    await admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'pgflex copy-offline%'`,
    )
  }
  await somebody.query('rollback')
  // The table that was complete by then was copied a second time.
  expect(await copying).toEqual({ copied: 3, errored: 0, remaining: 0 })
  expect(await money('resnapshot')).toBe(40_000_000)
  await expectNoLeaks(pair)
})
