import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatLsn, parseLsn } from '../../../migration/lsn.ts'
import { readDatabaseStatus, readEvents } from '../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { sourceEnd, startFollowing } from './following.ts'
import { startSliceProcess } from './slice-process.ts'
import { runWorkload, WORKLOAD_DDL } from './workload.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = 'create table t (id int primary key, v text)'

test('of two slices at once, one says that it is busy', async () => {
  await using following = await startFollowing(pair, 'busy', { ddl: DDL })
  await using target = await pair.target.connect('busy')
  const first = following.slice({ ms: 2_000 })
  await expect
    .poll(
      async () =>
        (await target.query(`select from pg_stat_activity where application_name = 'pgflex apply'`)).rows.length,
    )
    .toBe(1)
  expect(await following.slice({ ms: 60_000 })).toMatchObject({ ok: true, reason: 'busy', changes: 0 })
  expect((await first).reason).toBe('time')
})

test('an idle slice ends at once on a command, when the host drains, and when its place is reached', async () => {
  await using following = await startFollowing(pair, 'prompt', { ddl: DDL })
  let command = false
  const commanded = following.slice({ ms: 60_000, onCommand: () => Promise.resolve(command) })
  await using target = await pair.target.connect('prompt')
  await expect.poll(async () => (await target.query('select from pgflex.sample')).rows.length).toBeGreaterThan(0)
  let before = performance.now()
  command = true
  expect((await commanded).reason).toBe('command')
  // It is asked every half second.
  expect(performance.now() - before).toBeLessThan(2_500)

  await following.app.query(`insert into t values (1)`)
  const end = await sourceEnd(following.context)
  const reached = await following.slice({ ms: 60_000, until: end })
  expect(reached).toMatchObject({ reason: 'reached', changes: 1, latencySeconds: 0, lagBytes: 0 })
  expect(parseLsn(reached.appliedLsn)).toBeGreaterThanOrEqual(end)
  // Nothing of ours lies between the applied commit and this place.
  await following.app.query(`create table elsewhere as select g from generate_series(1, 1000) g`)
  expect((await following.slice({ ms: 60_000, until: await sourceEnd(following.context) })).reason).toBe('reached')

  const drained = following.slice({ ms: 60_000 })
  await expect
    .poll(
      async () =>
        (await target.query(`select from pg_stat_activity where application_name = 'pgflex apply'`)).rows.length,
    )
    .toBe(1)
  before = performance.now()
  following.migration.drain()
  expect((await drained).reason).toBe('draining')
  expect(performance.now() - before).toBeLessThan(2_000)
  expect((await following.slice({ ms: 60_000 })).reason).toBe('draining')
})

test('status, counters and plots say what has happened, and latency is 0 when everything is there', async () => {
  await using following = await startFollowing(pair, 'told', { ddl: DDL })
  await following.app.query(
    `insert into t select g from generate_series(1, 100) g; update t set v = 'x' where id < 10; delete from t where id = 1`,
  )
  const result = await following.slice({ ms: 2_500 })
  expect(result).toMatchObject({ reason: 'time', changes: 110, latencySeconds: 0, lagBytes: 0 })
  const { documents, key } = following.context
  const status = await readDatabaseStatus(documents, key, 'told')
  expect(status).toMatchObject({
    latencySeconds: 0,
    lagBytes: 0,
    changes: {
      inserts: 100,
      updates: 9,
      deletes: 1,
      truncates: 0,
      applied: 110,
      incoming: 110,
      transactions: 1,
      missed: 0,
    },
    slot: { walStatus: 'reserved' },
  })
  expect(Number(await following.onTarget('select count(*) from pgflex.sample'))).toBeGreaterThan(0)
  await following.slice({ ms: 100 })
  expect((await readDatabaseStatus(documents, key, 'told')).changes).toEqual(status.changes)
})

test('while the target is held up, latency grows, nothing is acknowledged, and the source keeps the connection', async () => {
  await using following = await startFollowing(pair, 'held', { ddl: DDL })
  await following.catchUp()
  await using source = await pair.source.connect('held')
  await source.query(`alter role migrator in database held set wal_sender_timeout = '1s'`)
  await using blocker = await pair.target.connect('held')
  await blocker.query('begin; lock table t in access exclusive mode')
  const slice = following.slice({ ms: 4_000 })
  await following.app.query(`insert into t values (1)`)
  const committed = await sourceEnd(following.context)
  const { documents, key } = following.context
  await expect
    .poll(async () => (await readDatabaseStatus(documents, key, 'held')).latencySeconds, { timeout: 10_000 })
    .toBeGreaterThan(2)
  const { rows } = await source.query<{ lsn: string; age: string }>(
    `select confirmed_flush_lsn as lsn, extract(epoch from now() - backend_start) as age from pg_replication_slots join pg_stat_replication on pid = active_pid`,
  )
  expect(parseLsn(rows[0]!.lsn)).toBeLessThan(committed)
  expect(Number(rows[0]!.age)).toBeGreaterThan(2)
  await blocker.query('rollback')
  expect(await slice).toMatchObject({ reason: 'time', changes: 1, latencySeconds: 0 })
  await following.expectEqual()
})

test('an update or delete that touches no row is counted and told once', async () => {
  await using following = await startFollowing(pair, 'missed', {
    ddl: `${DDL}; create table f (v text); alter table f replica identity full`,
  })
  await following.app.query(`insert into t values (1), (2), (3); insert into f values ('a')`)
  await following.catchUp()
  {
    await using target = await pair.target.connect('missed')
    await target.query('delete from t where id < 3; delete from f')
  }
  await following.app.query(`update t set v = 'x'; delete from f`)
  await following.catchUp()
  await following.app.query(`delete from t where id = 1`)
  await following.catchUp()
  expect(await following.onTarget('select missed from pgflex.progress')).toBe('4')
  const { documents, key } = following.context
  expect((await readDatabaseStatus(documents, key, 'missed')).changes.missed).toBe(4)
  const events = (await readEvents(documents, key)).filter(({ event }) => event === 'RowsMissed')
  expect(events.map(({ message }) => message.match(/public\.\w+/)![0]).toSorted()).toEqual(['public.f', 'public.t'])
})

test('changes of a table that was not copied are left out and told once, those of one still being copied are not read', async () => {
  await using following = await startFollowing(pair, 'ignored', { ddl: `${DDL}; create table u (id int primary key)` })
  await using target = await pair.target.connect('ignored')
  await target.query(`delete from pgflex.table_copy where table_name = 'u'`)
  await following.app.query('insert into u values (1); insert into t values (1)')
  await following.catchUp()
  await following.app.query('insert into u values (2)')
  await following.catchUp()
  expect(await following.onTarget('select count(*) from public.u')).toBe('0')
  expect(await following.onTarget('select count(*) from public.t')).toBe('1')
  const { documents, key } = following.context
  expect((await readEvents(documents, key)).filter(({ event }) => event === 'TableIgnored')).toHaveLength(1)
  await target.query(`update pgflex.table_copy set state = 'loading'`)
  await expect(following.slice({ ms: 100 })).rejects.toMatchObject({ code: 'TablesNotCopied' })
})

test('each table begins at its own point', async () => {
  await using following = await startFollowing(pair, 'points', { ddl: `${DDL}; create table u (id int primary key)` })
  await using target = await pair.target.connect('points')
  await following.app.query('insert into t values (1); insert into u values (1)')
  const { rows } = await following.app.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn')
  // As if u had been copied here, with its first row.
  await target.query('insert into u values (1)')
  await target.query(`update pgflex.table_copy set snapshot_lsn = $1 where table_name = 'u'`, [rows[0]!.lsn])
  await following.app.query('begin; insert into t values (2); insert into u values (2); commit')
  await following.expectEqual()
  expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
})

test('a refused change names table, key, SQLSTATE and commit, leaves nothing behind, and goes on once it is put right', async () => {
  await using following = await startFollowing(pair, 'refused', {
    ddl: `${DDL}; create table u (id int primary key)`,
    targetDdl: 'alter table t add check (v is null)',
  })
  await following.app.query(`insert into u values (1)`)
  await following.app.query(
    `begin; insert into u values (2); insert into t values (1), (2); insert into t values (7, 'x'); commit`,
  )
  await expect(following.slice({ ms: 20_000 })).rejects.toMatchObject({
    code: 'ApplyRefused',
    retryable: false,
    message: expect.stringMatching(
      /insert of public\.t \(id=7\), .* at [0-9A-F]+\/[0-9A-F]+: .*t_v_check.*SQLSTATE 23514/,
    ),
  })
  expect(await following.onTarget('select count(*) from public.u where id = 2')).toBe('0')
  await using target = await pair.target.connect('refused')
  await target.query('alter table t drop constraint t_v_check')
  await following.expectEqual()
})

test('a column that the target lacks stops replication by name', async () => {
  await using following = await startFollowing(pair, 'schema_change', { ddl: DDL })
  await following.app.query(`insert into t values (1)`)
  await following.catchUp()
  // Volatile: each row may have its own value.
  await following.app.query(`alter table t add extra int default floor(random()); insert into t values (2, 'v', 3)`)
  await expect(following.slice({ ms: 20_000 })).rejects.toMatchObject({
    code: 'SchemaChanged',
    message: expect.stringContaining('"extra"'),
  })
  await using target = await pair.target.connect('schema_change')
  await target.query('alter table t add extra int default 0')
  await following.expectEqual()
})

test('a slice whose process is frozen is replaced, and does nothing more when it wakes', async () => {
  await using following = await startFollowing(pair, 'frozen', { ddl: WORKLOAD_DDL })
  await using target = await pair.target.connect('frozen')
  const workload = runWorkload(pair, 'frozen', { seed: 7, clients: 3, transactions: 150 })
  await using frozen = startSliceProcess(following.migration, { ms: 120_000 })
  await expect
    .poll(async () => (await target.query('select from pgflex.progress where transactions > 20')).rows.length, {
      timeout: 20_000,
    })
    .toBe(1)
  frozen.child.kill('SIGSTOP')
  const committed = await workload
  await target.query(`update pgflex.lease set expires_at = now() - interval '1 s' where name = 'replicate'`)
  await following.expectEqual()
  const counts = `select concat_ws(' ', inserts + updates + deletes, transactions, missed) from pgflex.progress`
  expect(await following.onTarget(counts)).toBe(`${committed.changes} ${committed.transactions} 0`)
  frozen.child.kill('SIGCONT')
  expect(await frozen.outcome).toHaveProperty('error')
  expect(await following.onTarget(counts)).toBe(`${committed.changes} ${committed.transactions} 0`)
  await following.expectEqual()
})

test('a process that is killed in the middle of a large transaction leaves nothing half done', async () => {
  await using following = await startFollowing(pair, 'killed_large', { ddl: DDL })
  await following.app.query(`insert into t select g, repeat('x', 300) from generate_series(1, 150000) g`)
  await using target = await pair.target.connect('killed_large')
  {
    await using killed = startSliceProcess(following.migration, { ms: 120_000 })
    // Its transaction is open and has written.
    await expect
      .poll(
        async () =>
          (
            await target.query(
              `select from pg_stat_activity where application_name = 'pgflex apply' and backend_xid is not null`,
            )
          ).rows.length,
        { timeout: 20_000 },
      )
      .toBe(1)
    killed.child.kill('SIGKILL')
    await killed.outcome
  }
  expect(await following.onTarget('select count(*) from public.t')).toBe('0')
  await following.expectEqual()
  expect(await following.onTarget('select inserts from pgflex.progress')).toBe('150000')
})

test('a transaction of 200,000 rows and 150 MB, with rows of 20 MB, takes bounded memory', async () => {
  await using following = await startFollowing(pair, 'bounded', {
    ddl: 'create table big (id int primary key, v text); create table f (id int, v text); alter table f replica identity full',
  })
  await following.app
    .query(`begin; insert into big select g, repeat(md5(g::text), 16) from generate_series(1, 200000) g;
    insert into big select 200000 + g, repeat('0123456789', 2000000) from generate_series(1, 3) g; update big set v = 'short' where id % 3 = 0; delete from big where id % 7 = 0; commit`)
  const until = formatLsn(await sourceEnd(following.context))
  await using slice = startSliceProcess(following.migration, { ms: 120_000, until }, ['--max-old-space-size=64'])
  const outcome = await slice.outcome
  expect(outcome).toMatchObject({ reason: 'reached' })
  expect(outcome.maxRss - outcome.beginRss).toBeLessThan(300 * 1024)
  await following.expectEqual()
}, 120_000)
