import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseLsn, type Lsn } from '../../../../migration/lsn.ts'
import { sourceObjects } from '../../../../migration/replicate/slot-name.ts'
import { readDatabaseStatus } from '../../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../../support/servers.ts'
import { sourceEnd, startFollowing, type Following } from '../following.ts'
import { expectExact } from './exact.ts'

let pair: ServerPair

beforeAll(async () => {
  // A target that, left to itself, tells of commits long before they are on its disk.
  pair = await startServerPair(15, 17, {
    targetSettings: { synchronous_commit: 'off', wal_writer_delay: '10s', wal_writer_flush_after: '1GB' },
  })
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = 'create table t (id int primary key, v text)'

async function confirmed({ context }: Following): Promise<Lsn> {
  await using admin = await pair.source.connect(context.database)
  const { rows } = await admin.query<{ lsn: string }>(
    'select confirmed_flush_lsn as lsn from pg_replication_slots where slot_name = $1',
    [sourceObjects(context.key, context.database).slot],
  )
  return parseLsn(rows[0]!.lsn)
}

async function retained({ context }: Following): Promise<number> {
  await using admin = await pair.source.connect(context.database)
  const { rows } = await admin.query<{ bytes: string }>(
    'select pg_current_wal_lsn() - restart_lsn as bytes from pg_replication_slots where slot_name = $1',
    [sourceObjects(context.key, context.database).slot],
  )
  return Number(rows[0]!.bytes)
}

async function applied(following: Following): Promise<Lsn> {
  return parseLsn((await following.onTarget('select applied_lsn from pgflex.progress'))!)
}

/** What the slot would send anew. */
async function changesInSlot({ context }: Following): Promise<number> {
  const { slot, publication } = sourceObjects(context.key, context.database)
  await using admin = await pair.source.connect(context.database)
  const { rows } = await admin.query<{ changes: string }>(
    `select count(*) as changes from pg_logical_slot_peek_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', $2)
      where get_byte(data, 0) in (ascii('I'), ascii('U'), ascii('D'), ascii('T'))`,
    [slot, publication],
  )
  return Number(rows[0]!.changes)
}

/** MB of WAL that have nothing to do with what is followed. */
async function busyNeighbour(megabytes: number): Promise<Lsn> {
  await using admin = await pair.source.connect('postgres')
  await admin.query(`create table if not exists neighbour (v text);
    insert into neighbour select repeat('x', 1000) from generate_series(1, ${megabytes * 1000}); truncate neighbour`)
  const { rows } = await admin.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn')
  return parseLsn(rows[0]!.lsn)
}

test('trap 2: a transaction that has been applied does not come again; one that comes again is not applied', async () => {
  await using following = await startFollowing(pair, 'trap_2', { ddl: DDL })
  const { app } = following
  await app.query(`insert into t values (1), (2); update t set v = 'a'; delete from t where id = 2`)
  await expectExact(following)
  expect(await changesInSlot(following)).toBe(0)
  expect(await confirmed(following)).toBeGreaterThanOrEqual(await applied(following))
  // As after a death between the commit on the target and the acknowledgement: the target has it, the slot does not know.
  await app.query(`begin; insert into t values (3, 'once'); update t set v = v || '!'; commit`)
  const { rows } = await app.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn')
  await app.query(`insert into t values (4, 'next')`)
  {
    await using target = await pair.target.connect('trap_2')
    await target.query(`begin; insert into t values (3, 'once'); update t set v = v || '!'`)
    await target.query('update pgflex.progress set applied_lsn = $1', [rows[0]!.lsn])
    await target.query('commit')
  }
  const counts = `select concat_ws(' ', inserts, updates, deletes, transactions) from pgflex.progress`
  expect(await following.onTarget(counts)).toBe('2 2 1 1')
  await expectExact(following)
  expect(await following.onTarget(counts)).toBe('3 2 1 2')
  for (let again = 0; again < 2; again++) await following.slice({ ms: 50 })
  expect(await following.onTarget(counts)).toBe('3 2 1 2')
  expect(await changesInSlot(following)).toBe(0)
})

test('traps 5, 60: an idle database on a busy server keeps no WAL, and is not behind', async () => {
  await using following = await startFollowing(pair, 'trap_5', { ddl: DDL })
  await following.app.query('insert into t values (1)')
  await expectExact(following)
  const { context } = following
  let ended = false
  const slice = following.slice({ ms: 60_000, onCommand: () => Promise.resolve(ended) })
  const before = await applied(following)
  const end = await busyNeighbour(30)
  await expect.poll(() => confirmed(following), { timeout: 20_000 }).toBeGreaterThanOrEqual(end)
  // What is kept is freed when the source's checkpointer or background writer has logged what runs.
  await using admin = await pair.source.connect('postgres')
  await expect
    .poll(
      async () => {
        await admin.query('checkpoint')
        return await retained(following)
      },
      { timeout: 20_000, interval: 200 },
    )
    .toBeLessThan(10_000_000)
  await expect
    .poll(async () => (await readDatabaseStatus(context.documents, context.key, 'trap_5')).lagBytes, {
      timeout: 10_000,
    })
    .toBe(0)
  expect((await readDatabaseStatus(context.documents, context.key, 'trap_5')).latencySeconds).toBe(0)
  ended = true
  expect(await slice).toMatchObject({ reason: 'command', latencySeconds: 0, changes: 0 })
  expect(await applied(following)).toBe(before)
})

test('traps 4, 6: while a transaction waits for the target, neither time nor a busy neighbour acknowledges it', async () => {
  await using following = await startFollowing(pair, 'trap_6', { ddl: DDL })
  await following.app.query('insert into t values (1)')
  await expectExact(following)
  await using blocker = await pair.target.connect('trap_6')
  await blocker.query('begin; lock table t in access exclusive mode')
  await following.app.query('insert into t values (2)')
  const committed = await sourceEnd(following.context)
  let ended = false
  const slice = following.slice({ ms: 60_000, onCommand: () => Promise.resolve(ended) })
  await using target = await pair.target.connect('trap_6')
  await expect
    .poll(
      async () =>
        (
          await target.query(
            `select from pg_stat_activity where application_name = 'pgflex apply' and wait_event_type = 'Lock'`,
          )
        ).rows.length,
      { timeout: 20_000 },
    )
    .toBe(1)
  const end = await busyNeighbour(5)
  await following.app.query('insert into t values (3)')
  // The source has sent all of it, and has been told that it has been received.
  await using source = await pair.source.connect('trap_6')
  await expect
    .poll(
      async () =>
        (
          await source.query(
            `select from pg_stat_replication where application_name = 'pgflex follow' and sent_lsn >= pg_current_wal_flush_lsn() and reply_time > now() - interval '1 s'`,
          )
        ).rows.length,
      { timeout: 20_000 },
    )
    .toBe(1)
  expect(await confirmed(following)).toBeLessThan(committed)
  expect(await changesInSlot(following).catch((error: Error) => error.message)).toMatch(/active/)
  // Its session on the target ends: nothing of it is there, and nothing of it is lost.
  await target.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgflex apply'`)
  await expect(slice).rejects.toMatchObject({ code: '57P01' })
  ended = true
  expect(await confirmed(following)).toBeLessThan(committed)
  expect(await changesInSlot(following)).toBe(2)
  await blocker.query('rollback')
  await expectExact(following)
  expect(await confirmed(following)).toBeGreaterThan(end)
})

test('trap 7: what the source has been told to forget survives the crash of the target', async () => {
  await using following = await startFollowing(pair, 'trap_7', { ddl: DDL })
  {
    await using admin = await pair.target.connect('trap_7')
    await admin.query(
      `alter database trap_7 set synchronous_commit = off; alter role target_admin set synchronous_commit = off`,
    )
  }
  const { app } = following
  await app.query('insert into t values (0)')
  await expectExact(following)
  for (let round = 1; round < 3; round++) {
    let ended = false
    const slice = following.slice({ ms: 60_000, onCommand: () => Promise.resolve(ended) }).catch(() => {})
    // Neither a flush that was asked for by somebody else nor a checkpoint comes in between.
    await app.query(
      `insert into t select ${round} * 100 + g, 'v' from generate_series(1, 9) g; update t set v = '${round}' where id = 0`,
    )
    const end = parseLsn((await app.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn')).rows[0]!.lsn)
    await expect.poll(() => confirmed(following), { timeout: 20_000, interval: 1 }).toBeGreaterThanOrEqual(end)
    await pair.target.kill()
    const told = await confirmed(following)
    ended = true
    await slice
    await pair.target.start()
    expect(await following.onTarget('select v from public.t where id = 0')).toBe(String(round))
    // Where nothing is to be applied, the slot may be ahead of the progress row.
    expect(await following.onTarget('select count(*) from public.t')).toBe(String(round * 9 + 1))
    expect(told).toBeGreaterThanOrEqual(await applied(following))
    await expectExact(following)
  }
  await using admin = await pair.target.connect()
  await admin.query('alter role target_admin reset synchronous_commit')
})

test('trap 9: WAL that is kept for a target that does not follow is shown', async () => {
  await using following = await startFollowing(pair, 'trap_9', { ddl: DDL })
  await busyNeighbour(20)
  await following.app.query('insert into t values (1)')
  const { context } = following
  await using blocker = await pair.target.connect('trap_9')
  await blocker.query('begin; lock table t in access exclusive mode')
  let ended = false
  const slice = following.slice({ ms: 60_000, onCommand: () => Promise.resolve(ended) })
  await expect
    .poll(async () => (await readDatabaseStatus(context.documents, context.key, 'trap_9')).slot?.retainedBytes, {
      timeout: 20_000,
    })
    .toBeGreaterThan(15_000_000)
  await blocker.query('rollback')
  ended = true
  await slice
  await expectExact(following)
})

test('traps 10, 11: a slot that the source has invalidated, or that a failover has lost, ends it for good: no slot is made anew', async () => {
  await using lost = await startFollowing(pair, 'trap_10', { ddl: DDL })
  await using gone = await startFollowing(pair, 'trap_11', { ddl: DDL })
  await lost.app.query('insert into t values (1)')
  await expectExact(lost)
  await using admin = await pair.source.connect('trap_11')
  const { slot } = sourceObjects(gone.context.key, 'trap_11')
  await admin.query('select pg_drop_replication_slot($1)', [slot])
  await admin.query(`alter system set max_slot_wal_keep_size = '1MB'`)
  await admin.query('select pg_reload_conf()')
  try {
    await lost.app.query('insert into t values (2)')
    const name = sourceObjects(lost.context.key, 'trap_10').slot
    await expect
      .poll(
        async () => {
          await admin.query('select pg_switch_wal()')
          await admin.query('checkpoint')
          return (
            await admin.query<{ s: string }>('select wal_status as s from pg_replication_slots where slot_name = $1', [
              name,
            ])
          ).rows[0]!.s
        },
        { timeout: 30_000, interval: 10 },
      )
      .toBe('lost')
    for (const [following, code] of [
      [lost, 'SlotWalRemoved'],
      [gone, 'SlotLost'],
    ] as const) {
      for (let again = 0; again < 2; again++) {
        await expect(following.slice({ ms: 1_000 })).rejects.toMatchObject({ code, retryable: false })
      }
    }
  } finally {
    await admin.query('alter system reset max_slot_wal_keep_size')
    await admin.query('select pg_reload_conf()')
  }
  const { rows } = await admin.query<{ slot: string }>('select slot_name as slot from pg_replication_slots')
  expect(rows.map((row) => row.slot)).not.toContain(slot)
  expect(await lost.onTarget('select max(id) from public.t')).toBe('1')
})

test('trap 41: nothing of the target is needed that takes a superuser: the progress is a row of ours', async () => {
  await using following = await startFollowing(pair, 'trap_41', { ddl: DDL })
  await following.app.query('insert into t values (1)')
  await expectExact(following)
  expect(await following.onTarget('select count(*) from pg_replication_origin')).toBe('0')
  expect(await following.onTarget('select rolsuper from pg_roles where rolname = current_user')).toBe('f')
  expect(await following.onTarget('select transactions from pgflex.progress')).toBe('1')
})
