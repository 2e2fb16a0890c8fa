import type { ChildProcess } from 'node:child_process'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'
import { startSliceProcess } from './slice-process.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = 'create table t (id int primary key, v text); create table once (id int)'
const SLICE = { ms: 120_000 }

/** Not expect.poll, which knows only one test at a time. */
async function waitForRow(target: pg.Client, sql: string): Promise<void> {
  await vi.waitFor(
    async () => {
      const { rows } = await target.query(sql)
      if (rows.length !== 1) throw new Error(`${rows.length} rows: ${sql}`)
    },
    { timeout: 30_000, interval: 5 },
  )
}

/** Waits until one session of pgflex shows this state on the target. */
function waitForSession(target: pg.Client, condition: string): Promise<void> {
  return waitForRow(target, `select from pg_stat_activity where datname = current_database() and ${condition}`)
}

const APPLY_WRITES = `application_name = 'pgflex apply' and backend_xid is not null`

/** Nothing comes any more from the one who writes: between two statements, or in the middle of a COPY. */
const APPLY_STANDS = `${APPLY_WRITES} and (state = 'idle in transaction' or wait_event = 'ClientRead')`

async function expireLease(target: pg.Client): Promise<void> {
  await target.query(`update pgflex.lease set expires_at = now() - interval '1 s' where name = 'replicate'`)
}

/** The lease is taken and knows the session that applies: from here on only changes are waited for. */
function waitUntilReady(target: pg.Client): Promise<void> {
  return waitForRow(target, `select from pgflex.lease where name = 'replicate' and cardinality(pids) = 2`)
}

async function fence(target: pg.Client): Promise<string> {
  return (await target.query<{ fence: string }>(`select fence from pgflex.lease where name = 'replicate'`)).rows[0]!
    .fence
}

/** Everything that a copy could have written, with the place of each row and the transaction that wrote it. */
async function written(target: pg.Client): Promise<unknown> {
  const { rows } = await target.query(
    `select 't' as "table", count(*), md5(string_agg(concat_ws(' ', ctid, xmin, id, v), ',' order by id)) from t
     union all select 'once', count(*), md5(string_agg(concat_ws(' ', ctid, xmin, id), ',' order by ctid)) from once
     union all select 'progress', 1, md5(string_agg(concat_ws(' ', ctid, xmin, p), ',')) from pgflex.progress p`,
  )
  return rows
}

/** Lets a frozen copy go on, and expects it to end without having written anything. */
async function wakeInVain(
  target: pg.Client,
  { child, outcome }: { child: ChildProcess; outcome: Promise<{ error?: string }> },
): Promise<string> {
  const before = await written(target)
  child.kill('SIGCONT')
  const { error } = await outcome
  expect(error).toBeDefined()
  expect(await written(target)).toEqual(before)
  return error!
}

async function expectOnce(following: Following, counts: string): Promise<void> {
  await following.expectEqual()
  expect(
    await following.onTarget(
      `select concat_ws(' ', inserts, updates, deletes, transactions, missed) from pgflex.progress`,
    ),
  ).toBe(counts)
}

test('of many slices that start at the same moment, one follows and all others step back', async () => {
  await using following = await startFollowing(pair, 'many_copies', { ddl: DDL })
  await following.app.query(`insert into t select g from generate_series(1, 1000) g; insert into once values (1)`)
  for (let round = 0; round < 2; round++) {
    await following.app.query(`insert into once values (${round})`)
    let back = 0
    const slice = async (): Promise<string> => {
      // The one that follows goes on until all others have seen it.
      const { reason } = await following.slice({ ms: 60_000, onCommand: () => Promise.resolve(back === 5) })
      if (reason === 'busy') back++
      return reason
    }
    const reasons = await Promise.all(Array.from({ length: 6 }, () => slice()))
    expect(reasons.toSorted()).toEqual(['busy', 'busy', 'busy', 'busy', 'busy', 'command'])
  }
  await expectOnce(following, '1003 0 0 3 0')
}, 90_000)

test('a copy that is frozen before it has read that its commit was done does not do it again', async () => {
  await using following = await startFollowing(pair, 'frozen_answer', { ddl: DDL })
  await using target = await pair.target.connect('frozen_answer')
  await using frozen = startSliceProcess(following.migration, SLICE)
  await waitUntilReady(target)
  // A commit waits for a standby that does not exist, after it was written.
  await target.query(`alter system set synchronous_standby_names = 'nobody'`)
  try {
    await target.query('select pg_reload_conf()')
    await following.app.query(`begin; insert into t values (1, 'a'); insert into once values (1); commit`)
    await waitForSession(target, `application_name = 'pgflex apply' and wait_event = 'SyncRep'`)
    frozen.child.kill('SIGSTOP')
  } finally {
    await target.query('alter system reset synchronous_standby_names')
    await target.query('select pg_reload_conf()')
  }
  await waitForRow(target, 'select from once')
  expect(await fence(target)).toBe('1')
  await expireLease(target)
  await following.app.query(`insert into once values (2); update t set v = 'b'`)
  await expectOnce(following, '3 1 0 2 0')
  await wakeInVain(target, frozen)
  await following.app.query(`insert into once values (3)`)
  await expectOnce(following, '4 1 0 3 0')
})

// They mostly wait: each in a database of its own.

test.concurrent('a copy that is frozen in the middle of a large transaction is replaced when its lease has run out, not before, and writes nothing when it wakes', async () => {
  await using following = await startFollowing(pair, 'frozen_large', { ddl: DDL })
  await using target = await pair.target.connect('frozen_large')
  await following.app.query(
    `begin; insert into t select g, repeat('x', 300) from generate_series(1, 40000) g; insert into once values (1); commit`,
  )
  await using frozen = startSliceProcess(following.migration, SLICE)
  await waitForSession(target, APPLY_WRITES)
  frozen.child.kill('SIGSTOP')
  await waitForSession(target, APPLY_STANDS)
  const { rows } = await target.query<{ ms: number }>(
    `select (extract(epoch from expires_at - clock_timestamp()) * 1000)::int as ms from pgflex.lease where name = 'replicate'`,
  )
  const [frozenAt, leaseMs] = [performance.now(), rows[0]!.ms]
  expect((await following.slice(SLICE)).reason).toBe('busy')
  // The time of the lease itself: nobody helps here.
  await expectOnce(following, '40001 0 0 1 0')
  expect(performance.now() - frozenAt).toBeGreaterThan(leaseMs)
  await wakeInVain(target, frozen)
  await expectOnce(following, '40001 0 0 1 0')
}, 90_000)

test.concurrent('a copy that is frozen between the progress and its commit takes both with it', async () => {
  await using following = await startFollowing(pair, 'frozen_commit', { ddl: DDL })
  await using target = await pair.target.connect('frozen_commit')
  await using blocker = await pair.target.connect('frozen_commit')
  await using frozen = startSliceProcess(following.migration, SLICE)
  await waitUntilReady(target)
  // Who wants to commit asks for the fence last, and waits here.
  await blocker.query(`begin; select from pgflex.lease where name = 'replicate' for update`)
  await following.app.query(`begin; insert into t values (1, 'a'); insert into once values (1); commit`)
  await waitForSession(target, `application_name = 'pgflex apply' and wait_event_type = 'Lock'`)
  frozen.child.kill('SIGSTOP')
  await blocker.query('rollback')
  // All is written, the fence is held; what is missing is the word COMMIT.
  await waitForSession(target, `${APPLY_WRITES} and state = 'idle in transaction' and query ~ 'key share'`)
  expect((await following.slice(SLICE)).reason).toBe('busy')
  await expireLease(target)
  await expectOnce(following, '2 0 0 1 0')
  expect(await fence(target)).not.toBe('1')
  await wakeInVain(target, frozen)
  await expectOnce(following, '2 0 0 1 0')
}, 90_000)

test.concurrent('where the session of a frozen copy can not be ended, its successor waits for its transaction, and nothing comes of it', async () => {
  await using following = await startFollowing(pair, 'frozen_fence', { ddl: DDL })
  await using target = await pair.target.connect('frozen_fence')
  await following.app.query(
    `begin; insert into t select g, repeat('x', 300) from generate_series(1, 40000) g; insert into once values (1); commit`,
  )
  await using frozen = startSliceProcess(following.migration, SLICE)
  await waitForSession(target, APPLY_WRITES)
  frozen.child.kill('SIGSTOP')
  await waitForSession(target, APPLY_STANDS)
  // The lease knows nothing of the session that applies, as if it had been opened a moment ago.
  await target.query(`update pgflex.lease set pids = pids[1:1] where name = 'replicate'`)
  await expireLease(target)
  const caughtUp = following.catchUp()
  // The same rows: the successor has to wait for the transaction of the one that is frozen.
  await waitForSession(target, `application_name = 'pgflex apply' and wait_event_type = 'Lock'`)
  expect(await fence(target)).toBe('2')
  frozen.child.kill('SIGCONT')
  expect((await frozen.outcome).error).toBeDefined()
  expect((await caughtUp).reason).toBe('reached')
  await expectOnce(following, '40001 0 0 1 0')
}, 90_000)

test.concurrent('a copy that has been replaced and does not know it is refused by the fence', async () => {
  await using following = await startFollowing(pair, 'fenced', { ddl: DDL })
  await using target = await pair.target.connect('fenced')
  const ended = following.slice(SLICE).catch((error: unknown) => error)
  await waitUntilReady(target)
  // All of its sessions live on, and its next renewal is seconds away.
  await target.query(`update pgflex.lease set fence = fence + 1 where name = 'replicate'`)
  await following.app.query(`begin; insert into t values (1, 'a'); insert into once values (1); commit`)
  expect(await ended).toMatchObject({ code: 'LeaseLost', retryable: true })
  expect((await target.query('select from once')).rows).toHaveLength(0)
  await expectOnce(following, '2 0 0 1 0')
}, 90_000)
