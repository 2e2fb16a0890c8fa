import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startEmbeddedServer, type EmbeddedServer } from '../../demo/embedded-postgres.ts'
import { createSampleDatabase, SAMPLE_DATABASES, type SampleDatabase } from '../../demo/sample-database.ts'
import { classify, startWorkload, type Workload } from '../../demo/workload.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e6))
let server: EmbeddedServer
/** Each workload gets keys of its own. */
let workloads = 0

beforeAll(async () => {
  process.stderr.write(`SEED=${SEED}\n`)
  server = await startEmbeddedServer(15)
  {
    await using admin = await server.connect()
    await admin.query(`create role app login password 'app'`)
    for (const database of SAMPLE_DATABASES) await admin.query(`create database ${database} owner app`)
  }
  for (const database of SAMPLE_DATABASES) {
    const app = await connect(database)
    await createSampleDatabase(app, database)
    await app.end()
  }
})

afterAll(async () => {
  await server?.stop()
})

async function connect(database: string): Promise<pg.Client> {
  const { host, port } = server
  const client = new pg.Client({ host, port, database, user: 'app', password: 'app', connectionTimeoutMillis: 10_000 })
  client.on('error', () => {})
  await client.connect()
  return client
}

function start(database: SampleDatabase): Workload {
  return startWorkload({ connect: () => connect(database), database, clients: 4, seed: SEED + ++workloads, pauseMs: 0 })
}

async function value(database: string, expression: string): Promise<string> {
  await using admin = await server.connect(database)
  const { rows } = await admin.query<{ value: string }>(`select (${expression})::text as value`)
  return rows[0]!.value
}

test.each(SAMPLE_DATABASES)('%s: transactions commit, roll back, and nothing fails', async (database) => {
  await using workload = start(database)
  await expect.poll(() => workload.stats().committed, { timeout: 50_000 }).toBeGreaterThan(500)
  const stats = await workload.stop()
  expect(stats.errors).toEqual([])
  expect(stats).toMatchObject({ failed: 0, refused: 0 })
  expect(stats.rolledBack).toBeGreaterThan(0)
  expect(stats.rows).toBeGreaterThan(stats.committed)
  await using admin = await server.connect(database)
  expect(await workload.checkAcknowledged(admin)).toEqual({ acknowledged: stats.committed, missing: 0, unexpected: 0 })
  // Stopped is stopped.
  const after = await value(database, 'select count(*) from public.workload_commit')
  expect(Number(after)).toBe(stats.committed)
  const sessions = `select count(*) from pg_stat_activity where usename = 'app'`
  await expect.poll(() => value(database, sessions)).toBe('0')
})

test('shop: what belongs together stays together', async () => {
  expect(
    await value(
      'shop',
      `select count(*) from shop."order" o where total is distinct from
         coalesce((select sum(amount) from shop.order_line l where l.order_id = o.id), 0)`,
    ),
  ).toBe('0')
  expect(await value('shop', `select count(*) from shop.category where name like 'never there%'`)).toBe('0')
  // The trigger has recorded every change of the stock.
  expect(await value('shop', 'select sum(100000 - quantity) from shop.stock')).toBe(
    await value('shop', `select count(*) from shop.audit_log where action = 'UPDATE stock'`),
  )
})

test('ledger: no money appears or vanishes', async () => {
  expect(await value('ledger', 'select sum(balance) from ledger.account')).toBe('2000000.00')
  expect(await value('ledger', 'select sum(amount) from ledger.entry')).toBe('0.00')
  expect(await value('ledger', 'select sum(change) from ledger.audit_log')).toBe('0.00')
})

test('what is lost and what should not be there is told', async () => {
  await using admin = await server.connect('ledger')
  await admin.query('truncate public.workload_commit')
  await using workload = start('ledger')
  await expect.poll(() => workload.stats().committed, { timeout: 50_000 }).toBeGreaterThan(20)
  const { committed } = await workload.stop()
  expect(await workload.checkAcknowledged(admin)).toEqual({ acknowledged: committed, missing: 0, unexpected: 0 })
  await admin.query('delete from public.workload_commit')
  await admin.query('insert into public.workload_commit (client, n) values (0, 1000000)')
  const broken = await workload.checkAcknowledged(admin)
  expect(broken).toEqual({ acknowledged: committed, missing: committed, unexpected: 1 })
})

test('a database that becomes read-only and writable again is survived; refusals are counted', async () => {
  await using shop = await server.connect('shop')
  await shop.query('truncate public.workload_commit')
  await using workload = start('shop')
  await expect.poll(() => workload.stats().committed, { timeout: 50_000 }).toBeGreaterThan(20)
  await shop.query('alter database shop set default_transaction_read_only = on')
  await shop.query(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'`)
  await expect.poll(() => workload.stats().refused).toBeGreaterThan(10)
  const { committed, firstRefusedAt } = workload.stats()
  expect(firstRefusedAt).toBeDefined()
  await shop.query('alter database shop reset default_transaction_read_only')
  await expect.poll(() => workload.stats().committed).toBeGreaterThan(committed + 20)
  expect((await workload.stop()).errors).toEqual([])
  expect(await workload.checkAcknowledged(shop)).toMatchObject({ missing: 0, unexpected: 0 })
})

test('a server that dies in mid-work loses nothing that was acknowledged', async () => {
  {
    await using before = await server.connect('ledger')
    await before.query('truncate public.workload_commit')
  }
  await using workload = start('ledger')
  await expect.poll(() => workload.stats().committed, { timeout: 50_000 }).toBeGreaterThan(50)
  await server.kill()
  await expect.poll(() => workload.stats().refused).toBeGreaterThan(4)
  await server.start()
  const { committed } = workload.stats()
  await expect.poll(() => workload.stats().committed, { timeout: 50_000 }).toBeGreaterThan(committed)
  const stats = await workload.stop()
  expect(stats.errors).toEqual([])
  await using admin = await server.connect('ledger')
  expect(await workload.checkAcknowledged(admin)).toMatchObject({ missing: 0, unexpected: 0 })
})

test('an application takes errors as they are meant', () => {
  const state = (code: string): Error => Object.assign(new Error('x'), { code })
  for (const code of ['25006', '57P01', '57P03', '08006', 'ECONNREFUSED', '42501']) {
    expect({ code, outcome: classify(state(code)) }).toEqual({ code, outcome: 'refused' })
  }
  expect(classify(new Error('Connection terminated unexpectedly'))).toBe('refused')
  expect(classify(state('40P01'))).toBe('retried')
  for (const code of ['23505', '57014', '42P01']) {
    expect({ code, outcome: classify(state(code)) }).toEqual({ code, outcome: 'failed' })
  }
})
