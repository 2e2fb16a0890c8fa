import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { toFailure } from '../../../migration/errors.ts'
import { parseLsn, type Lsn } from '../../../migration/lsn.ts'
import type { DatabaseStatus } from '../../../migration/model/status.ts'
import { thinSamples } from '../../../migration/replicate/samples.ts'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import { SOURCE_USER, startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'

const DDL = 'create table t (id int primary key, v text)'

function statusOf({ context }: Following): Promise<DatabaseStatus> {
  return readDatabaseStatus(context.documents, context.key, context.database)
}

/** Follows in the background until the end of the block. */
function followingUntilEnd(following: Following): AsyncDisposable {
  let done = false
  const slice = following.slice({ ms: 120_000, onCommand: () => Promise.resolve(done) })
  slice.catch(() => {})
  return {
    async [Symbol.asyncDispose]() {
      done = true
      await slice
    },
  }
}

describe.each([
  [13, 18],
  [18, 17],
])('PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor, { sourceSettings: { wal_writer_delay: '10s' } })
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  async function slotLsns({ context }: Following): Promise<{ restart: Lsn; confirmed: Lsn; now: Lsn }> {
    await using admin = await pair.source.connect()
    const { rows } = await admin.query<Record<'restart' | 'confirmed' | 'now', string>>(
      `select restart_lsn as restart, confirmed_flush_lsn as confirmed, pg_current_wal_flush_lsn() as now
         from pg_replication_slots where slot_name = $1`,
      [sourceObjects(context.key, context.database).slot],
    )
    return {
      restart: parseLsn(rows[0]!.restart),
      confirmed: parseLsn(rows[0]!.confirmed),
      now: parseLsn(rows[0]!.now),
    }
  }

  test('an idle database on a busy server keeps no WAL, is at 0, and goes on from there', async () => {
    await using following = await startFollowing(pair, 'idle', { ddl: DDL })
    await using admin = await pair.source.connect()
    {
      await using _slice = followingUntilEnd(following)
      await admin.query('create table busy (v text)')
      for (let i = 0; i < 5; i++) {
        await admin.query(`insert into busy select repeat('x', 1000) from generate_series(1, 10000)`)
        await admin.query('checkpoint')
      }
      const { now } = await slotLsns(following)
      // The restart point moves by what a checkpoint or the background writer notes about running transactions.
      await expect
        .poll(
          async () => {
            await admin.query('checkpoint')
            const { restart, confirmed } = await slotLsns(following)
            return restart >= now && confirmed >= now
          },
          { timeout: 15_000, interval: 300 },
        )
        .toBe(true)
      await expect.poll(async () => (await statusOf(following)).latencySeconds, { timeout: 10_000 }).toBe(0)
    }
    // The slot stands after everything that was ever applied, and is ours all the same.
    await following.app.query('insert into t values (1)')
    await following.expectEqual()
    await admin.query('drop table busy')
  })

  test('a commit that is not flushed yet counts: latency is 0 only when it is on the target', async () => {
    await using following = await startFollowing(pair, 'unflushed', { ddl: DDL })
    await following.app.query('set synchronous_commit = off')
    await using _slice = followingUntilEnd(following)
    await using target = await pair.target.connect('unflushed')
    for (let id = 1; id <= 3; id++) {
      await following.app.query(`insert into t values (${id})`)
      const { rows } = await following.app.query<{ at: string }>('select clock_timestamp()::text as at')
      // The first point that was taken after the commit and says 0.
      await expect
        .poll(
          async () => {
            const { rows: zeros } = await target.query<{ there: string }>(
              `select (select count(*) from t)::text as there from pgflex.sample where at > $1::timestamptz and latency_seconds = 0 limit 1`,
              [rows[0]!.at],
            )
            return zeros[0]?.there
          },
          // Without a message of ours nobody flushes it for ten seconds.
          { timeout: 8_000, interval: 20 },
        )
        .toBe(String(id))
    }
  })

  test('without the right to write messages, latency is measured all the same', async () => {
    await using following = await startFollowing(pair, 'denied', { ddl: DDL })
    await using admin = await pair.source.connect('denied')
    const { rows } = await admin.query<{ f: string }>(
      `select oid::regprocedure::text as f from pg_proc where proname = 'pg_logical_emit_message'`,
    )
    for (const { f } of rows) await admin.query(`revoke execute on function ${f} from public`)
    await following.app.query('insert into t values (1)')
    await using _slice = followingUntilEnd(following)
    await expect.poll(async () => (await statusOf(following)).latencySeconds, { timeout: 20_000 }).toBe(0)
    expect(await following.onTarget('select count(*) from public.t')).toBe('1')
  })

  test('an open transaction of any size is no latency', async () => {
    await using following = await startFollowing(pair, 'open', { ddl: DDL })
    await using _slice = followingUntilEnd(following)
    await following.app.query('begin')
    await following.app.query(`insert into t select g, repeat('x', 100) from generate_series(1, 50000) g`)
    const begun = Date.now()
    await expect
      .poll(
        async () => {
          const points = await following.onTarget(
            `select count(*) from pgflex.sample where latency_seconds = 0 and at > to_timestamp(${begun / 1000})`,
          )
          return Number(points)
        },
        { timeout: 15_000 },
      )
      .toBeGreaterThan(1)
    await following.app.query('rollback')
  })
})

describe('PostgreSQL 15 to 17', () => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(15, 17)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test('a commit that waits since before the slice is as old as it is, and one connection outlives three timeouts of a blocked target', async () => {
    await using following = await startFollowing(pair, 'blocked', { ddl: DDL })
    await following.catchUp()
    await using admin = await pair.source.connect('blocked')
    await admin.query(`alter role ${SOURCE_USER} in database blocked set wal_sender_timeout = '1s'`)
    await using blocker = await pair.target.connect('blocked')
    await blocker.query('begin; lock table t in access exclusive mode')
    const committed = Date.now()
    await following.app.query('insert into t values (1)')
    await expect.poll(() => Date.now() - committed).toBeGreaterThan(900)
    {
      await using _slice = followingUntilEnd(following)
      await expect
        .poll(async () => (await statusOf(following)).latencySeconds, { timeout: 10_000 })
        .toBeGreaterThan(0.5)
      const before = Date.now()
      const { latencySeconds } = await statusOf(following)
      // Never too little, by as much as a look and its writing are apart; the clocks are one here.
      expect(latencySeconds! * 1000).toBeLessThanOrEqual(before - committed)
      const connection = `select pid from pg_stat_replication where application_name = 'pgflex follow' and now() - backend_start > interval '3.2 s'`
      await expect.poll(async () => (await admin.query(connection)).rows.length, { timeout: 10_000 }).toBe(1)
      expect((await statusOf(following)).latencySeconds!).toBeGreaterThan(2.5)
      await blocker.query('rollback')
    }
    await following.expectEqual()
  })

  test('what was known when a slice ended outlives an outage, and nothing is shown while it lasts', async () => {
    await using following = await startFollowing(pair, 'outage', { ddl: DDL })
    await following.slice({ ms: 500 })
    expect((await statusOf(following)).latencySeconds).toBe(0)
    const caughtUp = Number(await following.onTarget('select extract(epoch from caught_up_at) from pgflex.source'))
    await following.app.end()
    await pair.source.shutdown()
    await expect(following.slice({ ms: 500 })).rejects.toMatchObject({ retryable: true })
    await pair.source.start()
    expect(Number(await following.onTarget('select extract(epoch from caught_up_at) from pgflex.source'))).toBe(
      caughtUp,
    )
    const outcome = following.slice({ ms: 120_000 }).catch((error: unknown) => toFailure(error))
    await expect.poll(async () => (await statusOf(following)).latencySeconds, { timeout: 10_000 }).toBe(0)
    await pair.source.kill()
    expect(await outcome).toMatchObject({ ok: false, retryable: true })
    expect(await statusOf(following)).not.toHaveProperty('latencySeconds')
    await pair.source.start()
  })

  test('old points of the plots are thinned out, and the greatest latency of each minute and hour stays', async () => {
    await using following = await startFollowing(pair, 'plots', { ddl: DDL })
    await using target = await pair.target.connect('plots')
    await target.query(
      `insert into pgflex.sample (at, latency_seconds, lag_bytes, rows_copied, bytes_copied, changes_applied)
       select date_trunc('hour', now()) - s * interval '10 s', s % 7, 0, 0, 0, s from generate_series(1, 86400) s`,
    )
    const before = performance.now()
    await using session = await following.context.target('test')
    await thinSamples(session)
    expect(performance.now() - before).toBeLessThan(10_000)
    const { rows } = await target.query<{ count: number; least: number; recent: number }>(
      `select count(*)::int, min(latency_seconds) filter (where at < now() - interval '8 days')::int as least,
              count(*) filter (where at > now() - interval '59 minutes')::int as recent from pgflex.sample`,
    )
    // 7 days of minutes, 3 days of hours, and an hour as it was.
    expect(rows[0]!.count).toBeLessThan(7 * 1440 + 3 * 24 + 360 + 10)
    expect(rows[0]!.count).toBeGreaterThan(7 * 1440)
    expect(rows[0]!.least).toBe(6)
    await thinSamples(session)
    const again = await target.query<{ count: number }>('select count(*)::int from pgflex.sample')
    // The hour has moved on by some points.
    expect(again.rows[0]!.count).toBeGreaterThan(rows[0]!.count - 60)
  })
})
