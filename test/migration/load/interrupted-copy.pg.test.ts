import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EmbeddedServer } from '../../../demo/embedded-postgres.ts'
import { openCopySessions } from '../../../migration/load/copy-session.ts'
import { copyTable } from '../../../migration/load/copy-table.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { exportSlotSnapshot } from '../../../migration/load/slot-snapshot.ts'
import { planLoad } from '../../../migration/load/plan-load.ts'
import { listTables } from '../../../migration/load/tables.ts'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import {
  createLoadDatabase,
  expectEqual,
  expectNoLeaks,
  tableCopies,
  type LoadDatabase,
  undrained,
} from './load-database.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const SEED = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)

/** mulberry32: numbers in [0, 1) that a seed repeats. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Tables of some megabytes, each with a batch of its own, and a handful of small ones. */
function severalTables(big: number, rows: number): LoadDatabase {
  const names = Array.from({ length: big }, (_, i) => `public.big_${i}`)
  const small = Array.from({ length: 5 }, (_, i) => `public.small_${i}`)
  return {
    ddl: [...names, ...small].map((name) => `create table ${name} (id int, body text, x xml)`).join(';'),
    data: [
      ...names.map(
        (n) => `insert into ${n} select i, repeat(md5(i::text), 6), '<a/>' from generate_series(1, ${rows}) i`,
      ),
      ...small.map((n) => `insert into ${n} select i, md5(i::text) from generate_series(1, 50) i`),
      'analyze',
    ].join(';'),
  }
}

/** Rows that were ever inserted into the tables of the target: more than the rows it has, when a copy was done twice. */
async function insertedRows(server: EmbeddedServer, database: string): Promise<number> {
  await using client = await server.connect(database)
  const { rows } = await client.query<{ inserted: string }>(
    `select sum(n_tup_ins) as inserted from pg_stat_user_tables where schemaname = 'public'`,
  )
  return Number(rows[0]!.inserted)
}

/** Waits until a session of ours waits for somebody else's. */
async function waitUntilBlocked(server: EmbeddedServer): Promise<void> {
  await using admin = await server.connect()
  await expect
    .poll(
      async () => {
        const { rows } = await admin.query(
          `select from pg_stat_activity where application_name like 'pgflex %' and wait_event_type = 'Lock'`,
        )
        return rows.length
      },
      { timeout: 20_000 },
    )
    .toBeGreaterThan(0)
}

test('two activities at once share the batches, and no table is copied twice', async () => {
  await using migration = await createLoadDatabase(pair, 'shared', severalTables(6, 20_000))
  const { context } = migration
  expect((await planLoad(context)).batches).toBe(7)
  const results = await Promise.all([0, 1].map((worker) => copyTables(context, { worker })))
  expect(results.map(({ copied }) => copied).reduce((a, b) => a + b)).toBe(11)
  for (const { copied } of results) expect(copied).toBeGreaterThan(0)
  await expectEqual(pair, 'shared')
  await expect.poll(() => insertedRows(pair.target, 'shared'), { timeout: 10_000 }).toBe(6 * 20_000 + 5 * 50)
  const before = await tableCopies(pair, 'shared')
  expect(await planLoad(context)).toMatchObject({ tables: 11, batches: 7 })
  expect(await copyTables(context, { worker: 0 })).toEqual({ copied: 0, errored: 0, remaining: 0 })
  expect(await tableCopies(pair, 'shared')).toEqual(before)
  await expectNoLeaks(pair)
})

test(`sessions that end at random on both sides cost time and nothing else (seed ${SEED})`, async () => {
  const next = random(SEED)
  await using migration = await createLoadDatabase(pair, 'killed', severalTables(6, 40_000))
  const { context } = migration
  await planLoad(context)
  const kills = new AbortController()
  const killing = (async () => {
    let killed = 0
    while (killed < 12 && !kills.signal.aborted) {
      await sleep(50 + next() * 250)
      const server = next() < 0.5 ? pair.source : pair.target
      await using admin = await server.connect()
      const { rows } = await admin.query<{ name: string }>(
        `select pg_terminate_backend(pid), application_name as name from pg_stat_activity
          where application_name like 'pgflex %' and datname = 'killed' order by md5(pid || $1) limit 1`,
        [String(next())],
      )
      killed += rows.length
    }
    return killed
  })()
  try {
    for (;;) {
      const results = await Promise.allSettled([0, 1].map((worker) => copyTables(context, { worker })))
      if (results.some((result) => result.status === 'fulfilled' && result.value.remaining === 0)) break
    }
  } finally {
    kills.abort()
  }
  expect(await killing).toBeGreaterThan(2)
  const copies = Object.values(await tableCopies(pair, 'killed'))
  expect(copies.filter(({ state }) => state !== 'completed')).toEqual([])
  await expectEqual(pair, 'killed')
  await expectNoLeaks(pair)
}, 120_000)

test(`processes that are killed at random cost time and nothing else (seed ${SEED})`, async () => {
  const next = random(SEED)
  await using migration = await createLoadDatabase(pair, 'processes', severalTables(5, 40_000))
  await planLoad(migration.context)
  const script = fileURLToPath(new URL('copy-process.ts', import.meta.url))
  const start = (worker: number): ChildProcess =>
    spawn(process.execPath, [script, migration.folder, migration.context.key, 'processes', String(worker)], {
      stdio: 'ignore',
    })
  const children = [start(0), start(1)]
  try {
    for (let kill = 0; kill < 6; kill++) {
      await sleep(300 + next() * 700)
      const worker = Math.floor(next() * 2)
      children[worker]!.kill('SIGKILL')
      if (children[worker]!.exitCode === null) await once(children[worker]!, 'exit')
      children[worker] = start(worker)
    }
    for (const child of children) if (child.exitCode === null) await once(child, 'exit')
  } finally {
    for (const child of children) child.kill('SIGKILL')
  }
  // What was under way when its holder was killed: the next activity finds it.
  expect(await copyTables(migration.context, { worker: 2 })).toMatchObject({ errored: 0, remaining: 0 })
  await expectEqual(pair, 'processes')
  await expectNoLeaks(pair)
}, 120_000)

test('rows and bytes of a table are told while it is being copied', async () => {
  await using migration = await createLoadDatabase(pair, 'progress', {
    ddl: 'create table public.slow (id int)',
    data: 'insert into public.slow select generate_series(1, 20000); analyze',
  })
  const { context } = migration
  await planLoad(context)
  {
    await using target = await pair.target.connect('progress')
    await target.query(`
      create function public.dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.001); return new; end $$;
      create trigger dawdle before insert on public.slow for each row execute function public.dawdle()`)
  }
  const copying = copyTables(context, { worker: 0 })
  const progress = async (): Promise<number[]> => {
    const { tables, progress } = await readDatabaseStatus(context.documents, context.key, 'progress')
    return [tables.loading, progress.rowsDone, progress.bytesDone]
  }
  await expect
    .poll(progress, { timeout: 20_000 })
    .toSatisfy((numbers: number[]) => numbers.every((number) => number > 0))
  const copy = (await tableCopies(pair, 'progress'))['public.slow']!
  expect(Number(copy.rows_done)).toBeGreaterThan(0)
  migration.drain()
  expect(await copying).toEqual({ copied: 0, errored: 0, remaining: 1 })
})

test('a host that drains ends the copy at once, keeps what is complete, and goes on later', async () => {
  await using migration = await createLoadDatabase(pair, 'drained', {
    ddl: 'create table public.a (id int); create table public.b (id int)',
    data: 'insert into public.a select generate_series(1, 1000); insert into public.b select generate_series(1, 500); analyze',
  })
  const { context } = migration
  await planLoad(context)
  {
    // The copy of the second table has to wait for somebody on the target.
    await using somebody = await pair.target.connect('drained')
    await somebody.query('begin; lock table public.b')
    const copying = copyTables(context, { worker: 0 })
    await waitUntilBlocked(pair.target)
    const drainedAt = Date.now()
    migration.drain()
    expect(await copying).toEqual({ copied: 1, errored: 0, remaining: 1 })
    expect(Date.now() - drainedAt).toBeLessThan(5_000)
    // Also the writer that waits for the lock is gone.
    await expectNoLeaks(pair)
  }
  const before = await tableCopies(pair, 'drained')
  expect(before['public.b']).toMatchObject({ state: 'queued', rows_done: '0' })
  expect(await copyTables(undrained(context), { worker: 0 })).toEqual({ copied: 1, errored: 0, remaining: 0 })
  expect((await tableCopies(pair, 'drained'))['public.a']).toEqual(before['public.a'])
  await expectEqual(pair, 'drained')
})

test('a host that drains while a slot waits for a long transaction of the source leaves no slot behind', async () => {
  await using migration = await createLoadDatabase(pair, 'waiting', { ddl: 'create table public.a (id int)' })
  const { context } = migration
  await planLoad(context)
  {
    await using application = await pair.source.connect('waiting')
    await application.query('begin; insert into public.a values (1)')
    const copying = copyTables(context, { worker: 0 })
    await waitUntilBlocked(pair.source)
    migration.drain()
    expect(await copying).toEqual({ copied: 0, errored: 0, remaining: 1 })
    await expectNoLeaks(pair)
    await application.query('commit')
  }
  expect(await copyTables(undrained(context), { worker: 0 })).toEqual({ copied: 1, errored: 0, remaining: 0 })
  await expectEqual(pair, 'waiting')
})

test('a copy whose lease another one has taken commits nothing', async () => {
  await using migration = await createLoadDatabase(pair, 'fenced', {
    ddl: 'create table public.t (id int)',
    data: 'insert into public.t select generate_series(1, 1000)',
  })
  const { context } = migration
  await planLoad(context)
  await using target = await context.target('test')
  await target.query(`insert into public.t values (-1)`)
  await target.query(`insert into pgflex.lease (name, fence, expires_at) values ('copy-batch-1', 2, now())`)
  await using source = await context.source('test')
  const [table] = await listTables(source, () => true)
  {
    await using snapshot = await exportSlotSnapshot(context, 'test', context.draining)
    await using sessions = await openCopySessions(context, 'test')
    const zombie = copyTable(sessions, table!, {
      format: 'binary',
      freeze: true,
      snapshot: snapshot.name,
      lsn: snapshot.lsn,
      lease: { name: 'copy-batch-1', fence: '1' },
      onBytes() {},
    })
    await expect(zombie).rejects.toMatchObject({ code: 'LeaseLost' })
    await sessions.cut()
  }
  const { rows } = await target.query('select id from public.t')
  expect(rows).toEqual([{ id: '-1' }])
  expect((await tableCopies(pair, 'fenced'))['public.t']!.state).toBe('queued')
})

test('a table that cannot be copied is given up with its reason, and the others arrive', async () => {
  await using migration = await createLoadDatabase(pair, 'errored', {
    ddl: ['forbidden', 'missing', 'gone', 'checked', 'good', 'fine']
      .map((name) => `create table public.${name} (id int)`)
      .join(';'),
    data: 'insert into public.checked values (-1); insert into public.good values (1); insert into public.fine values (2)',
  })
  const { context } = migration
  await planLoad(context)
  {
    await using source = await pair.source.connect('errored')
    await source.query('alter table public.forbidden owner to postgres; drop table public.gone')
    await using target = await pair.target.connect('errored')
    await target.query('drop table public.missing; alter table public.checked add check (id > 0)')
  }
  expect(await copyTables(context, { worker: 0 })).toEqual({ copied: 2, errored: 3, remaining: 0 })
  const copies = await tableCopies(pair, 'errored')
  expect(copies['public.good']!.state).toBe('completed')
  expect(copies['public.fine']!.state).toBe('completed')
  expect(copies['public.forbidden']).toMatchObject({
    state: 'errored',
    message: expect.stringMatching(/on the source: permission denied/),
  })
  expect(copies['public.missing']).toMatchObject({
    state: 'errored',
    message: expect.stringMatching(/on the target: relation .* does not exist/),
  })
  expect(copies['public.gone']).toBeUndefined()
  expect(copies['public.checked']).toMatchObject({
    state: 'errored',
    message: expect.stringMatching(/on the target: .* violates check constraint/),
  })
  await expectNoLeaks(pair)
})

test('a table that is dropped on the source during the load is left out, and the status says so', async () => {
  await using migration = await createLoadDatabase(pair, 'dropped', {
    ddl: `create table public.first (v text); create schema gone; create table gone.second (id int);
      create table public.third (id int); create table public.early (id int)`,
    data: `insert into public.first select repeat('x', 100) from generate_series(1, 10000);
      insert into gone.second select generate_series(1, 1000); insert into public.third values (3)`,
  })
  const { context } = migration
  await planLoad(context)
  await using source = await pair.source.connect('dropped')
  await source.query('drop table public.early')
  // The copy of the first table waits; by then the activity has looked up what the others are made of.
  await source.query('begin; lock table public.first')
  const copying = copyTables(context, { worker: 0 })
  await using admin = await pair.source.connect('dropped')
  await expect
    .poll(async () => (await admin.query(`select from pg_stat_activity where wait_event_type = 'Lock'`)).rows.length, {
      timeout: 20_000,
    })
    .toBe(1)
  await admin.query('drop schema gone cascade; alter table public.third rename to fourth')
  await source.query('commit')
  expect(await copying).toEqual({ copied: 1, errored: 0, remaining: 0 })
  expect(Object.keys(await tableCopies(pair, 'dropped'))).toEqual(['public.first'])
  const { warnings, tables } = await readDatabaseStatus(context.documents, context.key, 'dropped')
  expect(warnings.toSorted()).toEqual([
    expect.stringMatching(/^gone\.second was dropped or renamed .* The target keeps/),
    expect.stringMatching(/^public\.early was dropped or renamed .* The target keeps/),
    expect.stringMatching(/^public\.third was dropped or renamed .* The target keeps/),
  ])
  expect(tables).toEqual({ queued: 0, loading: 0, completed: 1, errored: 0 })
  await using target = await pair.target.connect('dropped')
  const { rows } = await target.query(
    'select (select count(*) from gone.second) + (select count(*) from public.third) as rows',
  )
  expect(rows).toEqual([{ rows: '0' }])
  await expectNoLeaks(pair)
})

/** Makes the first insertions into a table of the target fail; the sequence does not roll back. */
async function failFirst(database: string, times: number, sqlstate: string): Promise<void> {
  await using target = await pair.target.connect(database)
  await target.query(`
    create sequence public.tries;
    create function public.fail() returns trigger language plpgsql security definer as $$
      begin
        if nextval('public.tries') <= ${times} then raise 'made to fail' using errcode = '${sqlstate}'; end if;
        return null;
      end $$;
    create trigger fail before insert on public.t for each statement execute function public.fail()`)
}

test('a failure that goes away by itself is tried again', async () => {
  await using migration = await createLoadDatabase(pair, 'transient', {
    ddl: 'create table public.t (id int)',
    data: 'insert into public.t select generate_series(1, 100)',
  })
  await planLoad(migration.context)
  await failFirst('transient', 2, '40P01')
  expect(await copyTables(migration.context, { worker: 0 })).toEqual({ copied: 1, errored: 0, remaining: 0 })
  await expectEqual(pair, 'transient')
  await expectNoLeaks(pair)
})

test('a full target ends the load with a word for it, and the table is copied when there is space again', async () => {
  await using migration = await createLoadDatabase(pair, 'full', {
    ddl: 'create table public.t (id int)',
    data: 'insert into public.t select generate_series(1, 100)',
  })
  await planLoad(migration.context)
  await failFirst('full', 1, '53100')
  await expect(copyTables(migration.context, { worker: 0 })).rejects.toMatchObject({ code: 'TargetFull' })
  expect((await tableCopies(pair, 'full'))['public.t']!.state).toBe('queued')
  expect(await copyTables(migration.context, { worker: 0 })).toEqual({ copied: 1, errored: 0, remaining: 0 })
  await expectEqual(pair, 'full')
  await expectNoLeaks(pair)
})

test('rows that a trigger of the target drops are noticed', async () => {
  await using migration = await createLoadDatabase(pair, 'dropping', {
    ddl: 'create table public.t (id int)',
    data: 'insert into public.t select generate_series(1, 100)',
  })
  await planLoad(migration.context)
  {
    await using target = await pair.target.connect('dropping')
    await target.query(`
      create function public.drop_some() returns trigger language plpgsql as $$
        begin return case when new.id % 10 = 0 then null else new end; end $$;
      create trigger drop_some before insert on public.t for each row execute function public.drop_some()`)
  }
  expect(await copyTables(migration.context, { worker: 0 })).toEqual({ copied: 0, errored: 1, remaining: 0 })
  expect((await tableCopies(pair, 'dropping'))['public.t']!.message).toMatch(
    /^The source sent 100 rows of public.t, and the target has written 90\./,
  )
})
