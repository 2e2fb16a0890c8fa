import { afterAll, beforeAll, expect, test } from 'vitest'
import { startEmbeddedServer, type EmbeddedServer } from '../../../demo/embedded-postgres.ts'
import { databaseContext, serverContext, type DatabaseContext } from '../../../migration/context.ts'
import { errorText } from '../../../migration/errors.ts'
import { exportSlotSnapshot } from '../../../migration/load/slot-snapshot.ts'
import { readFollowedSource } from '../../../migration/replicate/followed-source.ts'
import { replicateSlice } from '../../../migration/replicate/replicate-slice.ts'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'
import { admitCopy } from '../../../migration/replicate/source-admission.ts'
import { updateRecord } from '../../../migration/store/migrations.ts'
import { literal } from '../../../migration/sql.ts'
import { SOURCE_USER, startServerPair, type ServerPair } from '../../support/servers.ts'
import { sourceEnd, startFollowing, type Following } from './following.ts'

let pair: ServerPair
let standby: EmbeddedServer | undefined

beforeAll(async () => {
  pair = await startServerPair(17, 18)
})

afterAll(async () => {
  await standby?.stop()
  await pair?.[Symbol.asyncDispose]()
})

const DDL = 'create table t (id int primary key, v text)'

/** The migration as it goes on when the address of its source leads to another server. */
async function ledTo({ migration, context }: Following, server: EmbeddedServer): Promise<DatabaseContext> {
  await updateRecord(context.documents, context.key, (record) => ({
    ...record,
    source: { ...record.source, host: server.host, port: server.port },
  }))
  return databaseContext(await serverContext(migration.surroundings, context.key), context.database)
}

function slotOf({ context }: Following): string {
  return sourceObjects(context.key, context.database).slot
}

async function onServer(server: EmbeddedServer, database: string, sql: string): Promise<void> {
  await using admin = await server.connect(database)
  await admin.query(sql)
}

test('a promoted standby is followed when it has the slot and all that the target has, and else it is said why not', async () => {
  const followings: Following[] = []
  for (const database of ['whole', 'no_slot', 'ahead'])
    followings.push(await startFollowing(pair, database, { ddl: DDL }))
  const [whole, noSlot, ahead] = followings as [Following, Following, Following]
  {
    await using admin = await pair.source.connect()
    const { rows } = await admin.query<{ failover: boolean }>('select failover from pg_replication_slots')
    expect(rows.map(({ failover }) => failover)).toEqual([true, true, true])
  }
  for (const { app } of followings) await app.query(`insert into t values (1, 'before')`)
  for (const following of followings) await following.catchUp()
  for (const { app } of followings) await app.end()

  // The standby has what the primary had when it was copied, its slots among it, as slot synchronization keeps them.
  await pair.source.shutdown()
  standby = await startEmbeddedServer(17, {
    standbyOf: pair.source,
    withSlots: true,
    settings: { sync_replication_slots: 'off', hot_standby: 'on' },
  })
  await pair.source.start()
  await onServer(pair.source, 'ahead', `insert into t values (2, 'lost with the primary')`)
  await ahead.catchUp()
  await pair.source.kill()

  await onServer(standby, 'postgres', `select pg_promote()`)
  await onServer(standby, 'postgres', `select pg_drop_replication_slot(${literal(slotOf(noSlot))})`)
  for (const database of ['whole', 'no_slot', 'ahead'])
    await onServer(standby, database, `insert into t values (3, 'after')`)

  const context = await ledTo(whole, standby)
  const until = await sourceEnd(context)
  expect(await replicateSlice(context, { ms: 60_000, until })).toMatchObject({ reason: 'reached', changes: 1 })
  await onServer(standby, 'whole', `insert into t values (4, 'after')`)
  expect(await replicateSlice(context, { ms: 60_000, until: await sourceEnd(context) })).toMatchObject({ changes: 1 })
  expect(await whole.onTarget(`select string_agg(id::text, ' ' order by id) from public.t`)).toBe('1 3 4')
  {
    await using target = await context.target('test')
    const { history } = (await readFollowedSource(target, slotOf(whole)))!
    expect(history.timelines).toEqual([{ id: 1, end: expect.any(String) }, { id: 2 }])
  }

  await expect(replicateSlice(await ledTo(noSlot, standby), { ms: 100 })).rejects.toMatchObject({
    code: 'SlotNotFailedOver',
    retryable: false,
    hint: expect.stringContaining('sync_replication_slots'),
  })
  await expect(replicateSlice(await ledTo(ahead, standby), { ms: 100 })).rejects.toMatchObject({
    code: 'SourceDiverged',
    retryable: false,
    message: expect.stringContaining('timeline 2'),
  })
  expect(await ahead.onTarget('select count(*) from public.t')).toBe('2')

  // The old primary comes back under the old address.
  await pair.source.start()
  await expect(replicateSlice(await ledTo(whole, pair.source), { ms: 100 })).rejects.toMatchObject({
    code: 'SourceIsOldPrimary',
  })
  // Led back to the present one, it goes on.
  await onServer(standby, 'whole', `insert into t values (5, 'after')`)
  const again = await ledTo(whole, standby)
  expect(await replicateSlice(again, { ms: 60_000, until: await sourceEnd(again) })).toMatchObject({ changes: 1 })
})

test('a slot that a standby keeps in step is not read there before it is promoted, and then it is', async () => {
  await using following = await startFollowing(pair, 'synced', { ddl: DDL })
  await following.app.query(`insert into t values (1, 'before')`)
  await following.catchUp()
  await following.app.end()
  await onServer(pair.source, 'postgres', `select pg_create_physical_replication_slot('standby', true)`)
  await pair.source.shutdown()
  await using follower = await startEmbeddedServer(17, {
    standbyOf: pair.source,
    settings: {
      primary_conninfo: `host=127.0.0.1 port=${pair.source.port} user=postgres password=${pair.source.password} dbname=postgres`,
      primary_slot_name: 'standby',
      hot_standby_feedback: 'on',
    },
  })
  await pair.source.start()
  await using admin = await follower.connect()
  let lastError: string | undefined
  await expect
    .poll(
      async () => {
        // The slot is kept when that of the primary has come past the transactions that the standby knows of.
        await onServer(pair.source, 'postgres', 'checkpoint')
        await following.slice({ ms: 200 })
        // What the worker of sync_replication_slots = on does every now and then.
        await admin
          .query('select pg_sync_replication_slots()')
          .catch((error: unknown) => (lastError = errorText(error)))
        const { rows } = await admin.query<{ kept: boolean }>(
          'select synced and not temporary as kept from pg_replication_slots where slot_name = $1',
          [slotOf(following)],
        )
        return rows[0]?.kept ?? lastError
      },
      { timeout: 30_000, interval: 300 },
    )
    .toBe(true)

  const context = await ledTo(following, follower)
  await expect(replicateSlice(context, { ms: 100 })).rejects.toMatchObject({
    code: expect.stringMatching(/^(SlotRefused|SourceBehind)$/),
    hint: expect.stringMatching(/standby/),
  })
  // What the target has, the standby has.
  const applied = await following.onTarget('select applied_lsn from pgflex.progress')
  await expect
    .poll(
      async () =>
        (await admin.query<{ there: boolean }>('select pg_last_wal_replay_lsn() >= $1 as there', [applied])).rows[0]!
          .there,
    )
    .toBe(true)
  await pair.source.kill()
  await admin.query('select pg_promote()')
  await onServer(follower, 'synced', `insert into t values (1000, 'after')`)
  expect(await replicateSlice(context, { ms: 60_000, until: await sourceEnd(context) })).toMatchObject({ changes: 1 })
  await pair.source.start()
})

test('another server under the address of the source is not read, and led back the migration goes on', async () => {
  await using following = await startFollowing(pair, 'another', { ddl: DDL })
  await following.app.query(`insert into t values (1)`)
  // A server with the same databases and roles, as one that was restored by pg_restore: here, the target itself.
  await onServer(
    pair.target,
    'postgres',
    `create role ${SOURCE_USER} login replication superuser password ${literal(pair.sourcePassword)}`,
  )
  await expect(replicateSlice(await ledTo(following, pair.target), { ms: 100 })).rejects.toMatchObject({
    code: 'SourceReplaced',
  })
  // Nor is it copied from.
  const elsewhere = await ledTo(following, pair.target)
  await using target = await elsewhere.target('test')
  await expect(
    exportSlotSnapshot(elsewhere, 'test', elsewhere.draining, (walsender) =>
      admitCopy(walsender, target, slotOf(following)),
    ),
  ).rejects.toMatchObject({ code: 'SourceReplaced' })
  const context = await ledTo(following, pair.source)
  expect(await replicateSlice(context, { ms: 60_000, until: await sourceEnd(context) })).toMatchObject({ changes: 1 })
})
