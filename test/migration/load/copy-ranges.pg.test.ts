import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { DatabaseContext } from '../../../migration/context.ts'
import { copyRange } from '../../../migration/load/copy-range.ts'
import { openCopySessions } from '../../../migration/load/copy-session.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planLoad } from '../../../migration/load/plan-load.ts'
import { readRanges } from '../../../migration/load/read-ranges.ts'
import { exportSlotSnapshot } from '../../../migration/load/slot-snapshot.ts'
import { markLoading } from '../../../migration/load/table-copy.ts'
import { openRanges, openRangesOf } from '../../../migration/load/table-range-copy.ts'
import { rangeCondition } from '../../../migration/load/table-range.ts'
import { listTables, type SourceTable } from '../../../migration/load/tables.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { createLoadDatabase, expectEqual, expectNoLeaks, tableCopies, type LoadDatabase } from './load-database.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const SEED = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)

function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** A table that is large by the word of the test alone, and a small one. */
function large(rows: number, columns = 'id int primary key, amount int default 0, body text'): LoadDatabase {
  return {
    ddl: `create table public.large (${columns}); create table public.small (id int)`,
    data: `insert into public.large (id, body) select i, repeat(md5(i::text), 6) from generate_series(1, ${rows}) i;
      insert into public.small values (1); analyze`,
  }
}

/** Plans the load, with the large table in so many ranges. */
async function planRanges(context: DatabaseContext, ranges: number): Promise<void> {
  await planLoad(context)
  await using target = await context.target('test')
  await target.query(`update pgflex.table_copy set ranges = $1 where table_name = 'large'`, [ranges])
}

async function query(context: DatabaseContext, sql: string): Promise<Record<string, string>[]> {
  await using target = await context.target('test')
  return (await target.query<Record<string, string>>(sql)).rows
}

test('several activities share the ranges of a table, and all of them see the same moment of it', async () => {
  await using migration = await createLoadDatabase(pair, 'shared', large(60_000), {
    // Slow enough that nobody can have copied everything before the others have come.
    pgflex: { maxCopyBytesPerSecond: 4_000_000 },
  })
  const { context } = migration
  await planRanges(context, 12)
  // Money that moves between rows, and rows that move between pages.
  await using application = await pair.source.connect('shared')
  let going = true
  const next = random(SEED)
  const working = (async () => {
    for (let n = 0; going; n++) {
      const [from, to] = [1 + Math.floor(next() * 60_000), 1 + Math.floor(next() * 60_000)]
      await application.query(`begin; update public.large set amount = amount - 1 where id = ${from};
        update public.large set amount = amount + 1 where id = ${to}; commit`)
    }
  })()
  const results = await Promise.all([0, 1, 2].map((worker) => copyTables(context, { worker }))).finally(() => {
    going = false
  })
  await working
  // One that ends early may leave the others at work.
  expect(results).toContainEqual(expect.objectContaining({ errored: 0, remaining: 0 }))
  expect(results.reduce((sum, { copied }) => sum + copied, 0)).toBe(2)
  expect(await query(context, 'select count(*), count(distinct id) as ids, sum(amount) from public.large')).toEqual([
    { count: '60000', ids: '60000', sum: '0' },
  ])
  expect((await tableCopies(pair, 'shared'))['public.large']).toMatchObject({ state: 'completed', rows_done: '60000' })
  const [ranges] = await query(
    context,
    `select count(*), sum(rows_done) as rows, count(distinct snapshot) as snapshots,
            count(distinct done_by) > 1 as shared, bool_and(done) as done,
            sum(bytes_done) = (select bytes_done from pgflex.table_copy where table_name = 'large') as bytes
       from pgflex.table_range`,
  )
  expect(ranges).toEqual({ count: '12', rows: '60000', snapshots: '1', shared: 't', done: 't', bytes: 't' })
  await expectNoLeaks(pair)
})

test(`sessions that end at random cost ranges of a table and nothing else (seed ${SEED})`, async () => {
  const next = random(SEED)
  await using migration = await createLoadDatabase(pair, 'killed', large(150_000))
  const { context } = migration
  await planRanges(context, 10)
  const stop = new AbortController()
  const killing = (async () => {
    for (let kill = 0; kill < 12 && !stop.signal.aborted; kill++) {
      await sleep(50 + next() * 200)
      const server = next() < 0.5 ? pair.source : pair.target
      await using admin = await server.connect()
      await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
          where application_name like 'pgflex %' and datname = 'killed' order by md5(pid || $1) limit 1`,
        [String(next())],
      )
    }
  })()
  for (;;) {
    const results = await Promise.allSettled([0, 1, 2].map((worker) => copyTables(context, { worker })))
    if (results.some((result) => result.status === 'fulfilled' && result.value.remaining === 0)) break
  }
  stop.abort()
  await killing
  expect(Object.values(await tableCopies(pair, 'killed')).map(({ state }) => state)).toEqual(['completed', 'completed'])
  await expectEqual(pair, 'killed')
  await expectNoLeaks(pair)
}, 120_000)

test(`processes that are killed while they share a table cost time and nothing else (seed ${SEED})`, async () => {
  const next = random(SEED)
  await using migration = await createLoadDatabase(pair, 'processes', large(150_000))
  await planRanges(migration.context, 10)
  const script = fileURLToPath(new URL('copy-process.ts', import.meta.url))
  const start = (worker: number): ChildProcess =>
    spawn(process.execPath, [script, migration.folder, migration.context.key, 'processes', String(worker)], {
      stdio: 'ignore',
    })
  const children = [start(0), start(1)]
  try {
    for (let kill = 0; kill < 4; kill++) {
      await sleep(800 + next() * 700)
      const worker = Math.floor(next() * 2)
      children[worker]!.kill('SIGKILL')
      if (children[worker]!.exitCode === null) await once(children[worker]!, 'exit')
      children[worker] = start(worker)
    }
    for (const child of children) if (child.exitCode === null) await once(child, 'exit')
  } finally {
    for (const child of children) child.kill('SIGKILL')
  }
  expect(await copyTables(migration.context, { worker: 2 })).toMatchObject({ errored: 0, remaining: 0 })
  await expectEqual(pair, 'processes')
  await expectNoLeaks(pair)
}, 120_000)

test('an Offline load reads the ranges of a table over its streams', async () => {
  await using migration = await createLoadDatabase(pair, 'offline', large(60_000), {
    properties: { migrationMode: 'Offline' },
    pgflex: { copyJobs: 3 },
  })
  const { context } = migration
  await planRanges(context, 6)
  expect(await copyTables(context, { worker: 0 })).toEqual({ copied: 2, errored: 0, remaining: 0 })
  expect(await query(context, 'select count(*) from pgflex.table_range where done')).toEqual([{ count: '6' }])
  await expectEqual(pair, 'offline')
  await expectNoLeaks(pair)
})

test('a table whose ranges cannot be copied is given up with its reason, and the others arrive', async () => {
  await using migration = await createLoadDatabase(pair, 'errored', large(5_000))
  const { context } = migration
  await planRanges(context, 4)
  await query(context, `alter table public.large add check (id <> 4000)`)
  const results = await Promise.all([0, 1].map((worker) => copyTables(context, { worker })))
  expect(results).toContainEqual(expect.objectContaining({ errored: 1, remaining: 0 }))
  const copies = await tableCopies(pair, 'errored')
  expect(copies['public.large']).toMatchObject({
    state: 'errored',
    message: expect.stringMatching(/on the target: .* violates check constraint/),
  })
  expect(copies['public.small']!.state).toBe('completed')
  await expectNoLeaks(pair)
})

/** A table that is being copied by ranges, by hand. */
async function begin(context: DatabaseContext, count: number) {
  const stack = new AsyncDisposableStack()
  const sessions = stack.use(await openCopySessions(context, 'test'))
  const snapshot = stack.use(await exportSlotSnapshot(context, 'test', context.draining))
  await query(
    context,
    `insert into pgflex.lease (name, fence, expires_at) values ('copy-batch-1', 1, now()) on conflict do nothing`,
  )
  const lease = { name: 'copy-batch-1', fence: '1' }
  const table = (await listTables(sessions.reader, (_, name) => name === 'large'))[0]!
  await markLoading(sessions.writer, lease, table)
  const ranges = await readRanges(sessions.reader, table, 'pages', count)
  await openRanges(sessions.writer, lease, table, { snapshot, method: 'pages', ranges })
  const copy = async (range: Parameters<typeof copyRange>[2], on = sessions): Promise<unknown> =>
    await copyRange(on, table, range, { format: 'binary', onBytes() {} })
  return { stack, sessions, table, copy, ranges: await openRangesOf(sessions.writer, table) }
}

test('a range whose lease another one has taken commits nothing, nor does one of a copy that began anew', async () => {
  await using migration = await createLoadDatabase(pair, 'fenced', large(3_000))
  const { context } = migration
  await planLoad(context)
  const first = await begin(context, 3)
  await using _first = first.stack
  await first.copy(first.ranges[0]!)
  const done = (await query(context, 'select count(*) from public.large'))[0]!['count']
  expect(Number(done)).toBeGreaterThan(0)

  await query(context, `update pgflex.lease set fence = 2`)
  await expect(first.copy(first.ranges[1]!)).rejects.toMatchObject({ code: 'LeaseLost' })
  await first.sessions.cut()
  expect((await query(context, 'select count(*) from public.large'))[0]!['count']).toBe(done)

  await query(context, `update pgflex.lease set fence = 1`)
  const second = await begin(context, 3)
  await using _second = second.stack
  expect((await query(context, 'select count(*) from public.large'))[0]!['count']).toBe('0')
  // The ranges of the first beginning are gone.
  await expect(second.copy({ ...second.ranges[0]!, id: first.ranges[0]!.id })).rejects.toMatchObject({
    code: 'RangeTaken',
  })
  await second.sessions.cut()
  expect((await query(context, 'select count(*) from public.large'))[0]!['count']).toBe('0')
})

test('a range that was copied is not copied once more, also when the answer to its commit was lost', async () => {
  await using migration = await createLoadDatabase(pair, 'once', large(3_000))
  const { context } = migration
  await planLoad(context)
  const begun = await begin(context, 2)
  await using _begun = begun.stack
  // The first copy hangs in its commit; its mark is made.
  await using hanging = await context.target('test')
  await hanging.query(`begin; insert into public.large (id) values (-1)`)
  await hanging.query(`update pgflex.table_range set done = true where id = $1`, [begun.ranges[0]!.id])
  const again = begun.copy(begun.ranges[0]!).then(
    () => undefined,
    (error: unknown) => error,
  )
  await using admin = await pair.target.connect('once')
  await expect
    .poll(async () => (await admin.query(`select from pg_stat_activity where wait_event_type = 'Lock'`)).rows.length)
    .toBe(1)
  await hanging.query('commit')
  expect(await again).toMatchObject({ code: 'RangeTaken' })
  await begun.sessions.cut()
  expect(await query(context, 'select count(*) from public.large')).toEqual([{ count: '1' }])
})

test('a table whose ranges are all done is completed by whoever comes next, without another copy', async () => {
  await using migration = await createLoadDatabase(pair, 'whole', large(3_000))
  const { context } = migration
  await planRanges(context, 2)
  {
    const begun = await begin(context, 2)
    await using _begun = begun.stack
    for (const range of begun.ranges) await begun.copy(range)
  }
  const ids = await query(context, 'select id, snapshot_lsn from pgflex.table_range order by id')
  expect(await copyTables(context, { worker: 0 })).toMatchObject({ errored: 0, remaining: 0 })
  expect(await query(context, 'select id, snapshot_lsn from pgflex.table_range order by id')).toEqual(ids)
  expect((await tableCopies(pair, 'whole'))['public.large']).toMatchObject({
    state: 'completed',
    rows_done: '3000',
    snapshot_lsn: ids[0]!['snapshot_lsn'],
  })
  await expectEqual(pair, 'whole')
})

test('each row is in exactly one range of pages or of keys, and the servers read no more than the range', async () => {
  await using migration = await createLoadDatabase(pair, 'cut', {
    ddl: 'create table public.large (id int8 primary key, body text); create table public.empty (id int primary key)',
    data: `insert into public.large select i * i - 900, repeat('x', 200) from generate_series(1, 5000) i;
      insert into public.large values (-9223372036854775808, null), (9223372036854775807, null); analyze`,
  })
  await using source = await migration.context.source('test')
  const tables = await listTables(source, () => true)
  const [empty, table] = tables as [SourceTable, SourceTable]
  for (const method of ['pages', 'key'] as const) {
    const ranges = await readRanges(source, table, method, 5)
    expect(ranges).toHaveLength(5)
    const counts: number[] = []
    for (const range of ranges) {
      const condition = rangeCondition(method, table.integerKey, range)
      await source.query('set enable_seqscan = off')
      const { rows: plan } = await source.query<Record<string, string>>(
        `explain select id, body from only public.large where ${condition}`,
      )
      expect(plan.map((line) => line['QUERY PLAN']).join('\n')).toMatch(
        method === 'pages' ? /Tid Range Scan/ : /(Index|Bitmap Heap) Scan/,
      )
      const { rows } = await source.query<{ count: string }>(
        `select count(*) from only public.large where ${condition}`,
      )
      counts.push(Number(rows[0]!.count))
    }
    expect(counts.reduce((a, b) => a + b)).toBe(5002)
    for (const count of counts) expect(count).toBeGreaterThan(800)
    expect(await readRanges(source, empty, method, 5)).toEqual([{ lower: null, upper: null }])
  }
})
