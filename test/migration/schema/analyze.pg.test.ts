import { afterAll, beforeAll, expect, test } from 'vitest'
import { analyzeTables } from '../../../migration/schema/analyze.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing } from '../replicate/following.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

test('after the cutover only what has changed since is analyzed, partitioned tables by their partitions', async () => {
  await using following = await startFollowing(pair, 'analyzed', {
    ddl: `create table changed (id int primary key); create table still (id int primary key);
          create table parts (id int primary key) partition by range (id);
          create table parts_1 partition of parts for values from (0) to (1000);
          create table still_parts (id int primary key) partition by range (id);
          create table still_parts_1 partition of still_parts for values from (0) to (1000)`,
  })
  const { context } = following
  expect(await analyzeTables(context)).toEqual({ tables: 4, warnings: [] })
  await following.app.query(
    'insert into changed select generate_series(1, 500); insert into parts select generate_series(1, 500)',
  )
  await following.catchUp()
  // A session tells its counts at its end or a while later.
  const modified = (): Promise<string | null> =>
    following.onTarget(`select sum(n_mod_since_analyze) from pg_stat_user_tables where schemaname = 'public'`)
  await expect.poll(modified, { timeout: 10_000 }).toBe('1000')
  expect(await analyzeTables(context, { changedOnly: true })).toEqual({ tables: 2, warnings: [] })
  expect(await following.onTarget(`select reltuples from pg_class where relname = 'changed'`)).toBe('500')
  expect(await following.onTarget(`select reltuples from pg_class where relname = 'parts'`)).toBe('500')
})
