import { afterAll, beforeAll, expect, test } from 'vitest'
import { toFailure } from '../../../migration/errors.ts'
import { readProgress } from '../../../migration/replicate/progress.ts'
import { openReplicationStream } from '../../../migration/replicate/replication-stream.ts'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'
import { namingTroubles } from '../../../migration/replicate/source-trouble.ts'
import { APP_USER, startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = 'create table t (id int primary key, v text)'

/** SQL of the application, in a session of its own. */
async function onSource(following: Following, sql: string): Promise<void> {
  await using app = await pair.source.connect(following.context.database)
  await app.query(`set role ${APP_USER}`)
  await app.query(sql)
}

/** SQL of an administrator. */
async function administer(following: Following, ...statements: string[]): Promise<void> {
  await using admin = await pair.source.connect(following.context.database)
  for (const sql of statements) await admin.query(sql)
}

function slotOf({ context }: Following): string {
  return sourceObjects(context.key, context.database).slot
}

test('a source that is restarted and killed under way is followed on by itself, and each time it is said what happened', async () => {
  await using following = await startFollowing(pair, 'restarted', { ddl: DDL })
  const codes: string[] = []
  let done = false
  const follower = (async () => {
    while (!done) {
      try {
        await following.slice({ ms: 60_000, onCommand: () => Promise.resolve(done) })
      } catch (error) {
        // What the orchestration does: what may go away is tried again.
        const failure = toFailure(error)
        codes.push(failure.retryable ? failure.code : `final ${failure.code}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  })()
  await following.app.end()
  let last = 0
  const insertAndArrive = async (): Promise<void> => {
    const from = last + 1
    last += 500
    await onSource(following, `insert into t select g, 'v' from generate_series(${from}, ${last}) g`)
    await expect.poll(() => following.onTarget('select count(*) from public.t'), { timeout: 20_000 }).toBe(`${last}`)
  }
  try {
    await insertAndArrive()
    await pair.source.shutdown()
    await expect.poll(() => codes.length).toBeGreaterThan(0)
    expect(['SourceShutDown', 'SourceConnectionLost']).toContain(codes[0])
    await pair.source.start()
    await insertAndArrive()
    codes.length = 0
    await pair.source.kill()
    await expect.poll(() => codes.length).toBeGreaterThan(0)
    expect(['SourceCrashed', 'SourceConnectionLost']).toContain(codes[0])
    await pair.source.start()
    await insertAndArrive()
  } finally {
    done = true
    await follower
  }
  expect(codes.filter((code) => code !== '603000' && !code.startsWith('Source'))).toEqual([])
  await following.expectEqual()
})

test('a walsender that is frozen keeps the slot: it is named, and once it is gone the migration goes on', async () => {
  await using following = await startFollowing(pair, 'frozen', { ddl: DDL })
  await using target = await following.context.target('test')
  const slot = slotOf(following)
  const { startLsn } = await readProgress(target, slot)
  await using source = await following.context.source('test')
  const options = { slot, publications: [slot], startLsn, source }
  const stream = await openReplicationStream(following.context, options)
  const { rows } = await source.query<{ pid: string }>(
    'select active_pid as pid from pg_replication_slots where slot_name = $1',
    [slot],
  )
  const pid = Number(rows[0]!.pid)
  // An idle source that answers is not silent.
  await expect.poll(() => stream.silentMs).toBeGreaterThan(300)
  stream.ping()
  await expect.poll(() => stream.silentMs, { interval: 10 }).toBeLessThan(200)
  process.kill(pid, 'SIGSTOP')
  try {
    // It does not answer a ping, and the silence is seen.
    stream.ping()
    await expect.poll(() => stream.silentMs).toBeGreaterThan(300)
    await stream[Symbol.asyncDispose]()
    await onSource(following, `insert into t values (1)`)
    await expect(openReplicationStream(following.context, { ...options, slotWaitMs: 1_200 })).rejects.toMatchObject({
      code: 'SlotInUse',
      retryable: true,
      message: expect.stringContaining(`PID ${pid}`),
    })
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await following.expectEqual()
})

test('a session of the source that does not answer is broken off in time', async () => {
  await using following = await startFollowing(pair, 'silent', { ddl: DDL })
  await using source = namingTroubles(await following.context.source('test'), 300)
  const { rows } = await source.query<{ pid: string }>('select pg_backend_pid() as pid')
  const pid = Number(rows[0]!.pid)
  process.kill(pid, 'SIGSTOP')
  try {
    await expect(source.query('select 1')).rejects.toMatchObject({ code: 'SourceSilent', retryable: true })
  } finally {
    process.kill(pid, 'SIGCONT')
  }
})

test('a slot that was dropped is lost, also when somebody has made it anew', async () => {
  await using following = await startFollowing(pair, 'dropped', { ddl: DDL })
  await onSource(following, `insert into t values (1)`)
  await following.catchUp()
  const slot = slotOf(following)
  await administer(following, `select pg_drop_replication_slot('${slot}')`)
  await expect(following.slice({ ms: 100 })).rejects.toMatchObject({
    code: 'SlotLost',
    retryable: false,
    message: expect.stringContaining('dropped'),
  })
  await onSource(following, `insert into t values (2)`)
  await administer(following, `select pg_create_logical_replication_slot('${slot}', 'pgoutput')`)
  await onSource(following, `insert into t values (3)`)
  await expect(following.slice({ ms: 100 })).rejects.toMatchObject({
    code: 'SlotLost',
    retryable: false,
    message: expect.stringContaining('made anew'),
  })
  expect(await following.onTarget('select string_agg(id::text, $$ $$) from public.t')).toBe('1')
})

test('a slot that was dropped and made anew while nothing of this database changed is told from ours', async () => {
  await using following = await startFollowing(pair, 'dropped_idle', { ddl: `${DDL}; create table noise (v text)` })
  // The slot comes to stand after the last commit of ours: it is acknowledged for what is nobody's.
  await administer(following, 'create table public.of_nobody as select g from generate_series(1, 1000) g')
  await following.slice({ ms: 700 })
  expect(
    await following.onTarget(
      'select acknowledged_lsn > start_lsn from pgflex.source join pgflex.progress using (slot)',
    ),
  ).toBe('t')
  await following.slice({ ms: 100 })
  const slot = slotOf(following)
  await administer(
    following,
    `select pg_drop_replication_slot('${slot}')`,
    `select pg_create_logical_replication_slot('${slot}', 'pgoutput')`,
  )
  await expect(following.slice({ ms: 100 })).rejects.toMatchObject({ code: 'SlotLost' })
})

test('the snapshot of a table that was copied late is no place to acknowledge: changes of others before it are not applied', async () => {
  await using following = await startFollowing(pair, 'late_copy', {
    ddl: `${DDL}; create table u (id int primary key)`,
  })
  // It is in the copy, and passed over: the first place that is acknowledged.
  await onSource(following, `insert into u values (1)`)
  await onSource(following, `insert into t values (1)`)
  await using source = await following.context.source('test')
  const { rows } = await source.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn')
  await using target = await pair.target.connect('late_copy')
  await target.query('insert into u values (1)')
  await target.query(`update pgflex.table_copy set snapshot_lsn = $1 where table_name = 'u'`, [rows[0]!.lsn])
  // As long as the target refuses the change of t, the source keeps it.
  await target.query('alter table t add check (id <> 1)')
  for (let attempt = 0; attempt < 2; attempt++) {
    await expect(following.slice({ ms: 20_000 })).rejects.toMatchObject({ code: 'ApplyRefused' })
  }
  await target.query('alter table t drop constraint t_id_check')
  await following.expectEqual()
})

test('a target that was set back behind what it has acknowledged is not gone on with', async () => {
  await using following = await startFollowing(pair, 'set_back', { ddl: DDL })
  await onSource(following, `insert into t values (1)`)
  await following.catchUp()
  // As if it had been restored, or failed over to a standby without its last commits.
  await using target = await pair.target.connect('set_back')
  await target.query('delete from t; update pgflex.progress set applied_lsn = start_lsn')
  await target.query(
    'update pgflex.source s set acknowledged_lsn = start_lsn from pgflex.progress p where p.slot = s.slot',
  )
  await expect(following.slice({ ms: 100 })).rejects.toMatchObject({
    code: 'SlotLost',
    message: expect.stringContaining('the target was set back'),
  })
})

test('a slot that is dropped under way ends the slice, and the next one says that it is lost', async () => {
  await using following = await startFollowing(pair, 'dropped_under_way', { ddl: DDL })
  const slice = following.slice({ ms: 60_000 })
  const outcome = slice.catch((error: unknown) => toFailure(error))
  await using admin = await pair.source.connect('dropped_under_way')
  const slot = slotOf(following)
  await expect
    .poll(
      async () =>
        (await admin.query('select from pg_replication_slots where slot_name = $1 and active', [slot])).rows.length,
    )
    .toBe(1)
  await expect
    .poll(async () => {
      await admin.query('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1', [
        slot,
      ])
      return await admin.query('select pg_drop_replication_slot($1)', [slot]).then(
        () => 'dropped',
        () => 'active',
      )
    })
    .toBe('dropped')
  expect(await outcome).toMatchObject({ code: 'SourceShutDown', retryable: true })
  await expect(following.slice({ ms: 100 })).rejects.toMatchObject({ code: 'SlotLost' })
})

test('a slot whose WAL was removed says so, with the setting', async () => {
  await using following = await startFollowing(pair, 'removed', { ddl: DDL })
  try {
    await administer(following, `alter system set max_slot_wal_keep_size = '1MB'`, 'select pg_reload_conf()')
    for (let segment = 0; segment < 4; segment++) {
      await onSource(following, `insert into t values (${segment})`)
      await administer(following, 'select pg_switch_wal()')
    }
    await administer(following, 'checkpoint')
    await expect(following.slice({ ms: 100 })).rejects.toMatchObject({
      code: 'SlotWalRemoved',
      retryable: false,
      message: expect.stringContaining('max_slot_wal_keep_size'),
      hint: expect.stringMatching(/copied anew/),
    })
  } finally {
    await administer(following, `alter system reset max_slot_wal_keep_size`, 'select pg_reload_conf()')
  }
})
