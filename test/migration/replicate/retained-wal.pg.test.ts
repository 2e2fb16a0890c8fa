import { afterAll, beforeAll, expect, test } from 'vitest'
import { walWarning } from '../../../migration/replicate/retained-wal.ts'
import { RetainedWalWatch, watchSlot } from '../../../migration/replicate/retained-wal-watch.ts'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'
import { readDatabaseStatus, readEvents } from '../../../migration/store/migrations.ts'
import type { DatabaseStatus } from '../../../migration/model/status.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 18, { sourceSettings: { max_wal_size: '32MB', min_wal_size: '32MB' } })
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = 'create table t (id int primary key, v text)'

/** Another database of the server fills segments of 16 MB. */
async function fill(segments: number): Promise<void> {
  await using admin = await pair.source.connect()
  await admin.query('create table if not exists filler (v text)')
  for (let i = 0; i < segments; i++) {
    await admin.query(`insert into filler values ('x')`)
    await admin.query('select pg_switch_wal()')
  }
  await admin.query('checkpoint')
}

async function setLimit(value: string): Promise<void> {
  await using admin = await pair.source.connect()
  await admin.query(`alter system set max_slot_wal_keep_size = '${value}'`)
  await admin.query('select pg_reload_conf()')
  await expect
    .poll(async () => (await admin.query('show max_slot_wal_keep_size')).rows[0])
    .toEqual({ max_slot_wal_keep_size: value })
}

function statusOf({ context }: Following): Promise<DatabaseStatus> {
  return readDatabaseStatus(context.documents, context.key, context.database)
}

async function events({ context }: Following): Promise<string[]> {
  return (await readEvents(context.documents, context.key))
    .filter(({ event }) => event === 'RetainedWal')
    .map(({ message }) => message)
}

test('retained WAL is shown and warned about once for each level, and no longer when it has gone', async () => {
  await using following = await startFollowing(pair, 'retained', { ddl: DDL })
  const { slot } = sourceObjects(following.context.key, 'retained')
  await fill(4)
  // While nobody reads the slot.
  {
    await using _watch = watchSlot(following.context)
  }
  let status = await statusOf(following)
  expect(status.slot).toMatchObject({ name: slot, walStatus: 'extended' })
  expect(status.slot!.retainedBytes).toBeGreaterThan(48 * 1024 ** 2)
  expect(status.slot).not.toHaveProperty('safeWalBytes')
  expect(status.warnings).toEqual([walWarning('extended', slot)])

  await setLimit('96MB')
  {
    await using _watch = watchSlot(following.context)
  }
  status = await statusOf(following)
  expect(status.slot!.safeWalBytes).toBeLessThan(48 * 1024 ** 2)
  expect(await events(following)).toHaveLength(1)
  await fill(2)
  await following.app.query(`insert into t values (1)`)
  await using source = await following.context.source('test')
  const watch = new RetainedWalWatch(following.context, slot)
  for (let look = 0; look < 2; look++) await watch.look(source)
  expect((await statusOf(following)).warnings).toEqual([walWarning('scarce', slot)])
  expect(await events(following)).toHaveLength(2)
  expect((await events(following))[1]).toMatch(/alter system set max_slot_wal_keep_size.*left: \d+ bytes/)

  // What is read again is let go: the restart point moves when a later checkpoint has been read.
  await expect
    .poll(
      async () => {
        await using admin = await pair.source.connect()
        await admin.query('checkpoint')
        await following.catchUp()
        await following.slice({ ms: 300 })
        return (await statusOf(following)).warnings
      },
      { timeout: 20_000 },
    )
    .toEqual([])
  expect(await following.onTarget('select count(*) from public.t')).toBe('1')
  expect(await events(following)).toHaveLength(2)
})
