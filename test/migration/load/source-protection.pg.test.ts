import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planDatabaseLoad } from '../../../migration/load/plan-database-load.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { createLoadDatabase, expectEqual, expectNoLeaks } from './load-database.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 18)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** Watches the source until the block ends. */
async function watchSource(database: string): Promise<AsyncDisposable & { locks: Set<string>; mostSessions: number }> {
  const admin = await pair.source.connect(database)
  const seen = { locks: new Set<string>(), mostSessions: 0 }
  let going = true
  const watching = (async () => {
    while (going) {
      const { rows } = await admin.query<{ locks: string[] | null; readers: string }>(
        `select (select array_agg(distinct l.mode)
                   from pg_locks l join pg_stat_activity a using (pid)
                  where a.application_name like 'pgflex %' and l.locktype = 'relation') as locks,
                (select count(*) from pg_stat_activity where application_name like 'pgflex % read') as readers`,
      )
      for (const lock of rows[0]!.locks ?? []) seen.locks.add(lock)
      seen.mostSessions = Math.max(seen.mostSessions, Number(rows[0]!.readers))
    }
  })()
  return Object.assign(seen, {
    async [Symbol.asyncDispose]() {
      going = false
      await watching
      await admin.end()
    },
  })
}

const TABLES = Array.from({ length: 30 }, (_, i) => `public.small_${i}`)
const DDL = ['public.large', 'public.middling', ...TABLES]
  .map((name) => `create table ${name} (id int primary key, body text)`)
  .join(';')
const DATA = [
  `insert into public.large select i, repeat(md5(i::text), 10) from generate_series(1, 40000) i`,
  `insert into public.middling select i, repeat(md5(i::text), 10) from generate_series(1, 10000) i`,
  ...TABLES.map((name) => `insert into ${name} select i, 'row' from generate_series(1, 10) i`),
  'analyze',
].join(';')

test('a load takes no lock on the source that anybody could feel, and no more readers than it was given', async () => {
  await using migration = await createLoadDatabase(pair, 'locks', { ddl: DDL, data: DATA }, { pgflex: { copyJobs: 2 } })
  const { context } = migration
  await using watched = await watchSource('locks')
  const { width } = await planDatabaseLoad(context)
  expect(width).toBe(2)
  {
    await using target = await context.target('test')
    await target.query(`update pgflex.table_copy set ranges = 5 where table_name = 'large'`)
  }
  const results = await Promise.all([0, 1].map((worker) => copyTables(context, { worker })))
  // The one that ends first may leave the other at work.
  expect(results).toContainEqual(expect.objectContaining({ errored: 0, remaining: 0 }))
  expect([...watched.locks]).toEqual(['AccessShareLock'])
  expect(watched.mostSessions).toBeLessThanOrEqual(2)
  await expectEqual(pair, 'locks')
  await expectNoLeaks(pair)
})

test('a load with a limit reads no more bytes a second than that, over all its streams', async () => {
  const limit = 4_000_000
  await using migration = await createLoadDatabase(
    pair,
    'limited',
    { ddl: DDL, data: DATA },
    { pgflex: { copyJobs: 2, maxCopyBytesPerSecond: limit } },
  )
  const { context } = migration
  await planDatabaseLoad(context)
  const startedAt = performance.now()
  await Promise.all([0, 1].map((worker) => copyTables(context, { worker })))
  const seconds = (performance.now() - startedAt) / 1000
  await using target = await context.target('test')
  const { rows } = await target.query<{ large: string; bytes: string }>(
    `select max(bytes_done) as large, sum(bytes_done) as bytes from pgflex.table_copy`,
  )
  const { large, bytes } = rows[0]!
  expect(Number(bytes) / seconds).toBeLessThan(limit)
  // One stream has half of it, and may be ahead by what it may save up, and by a last piece.
  expect(seconds).toBeGreaterThan(Number(large) / (limit / 2) - 0.5)
  await expectEqual(pair, 'limited')
})
