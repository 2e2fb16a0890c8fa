import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planDatabaseLoad } from '../../../migration/load/plan-database-load.ts'
import { createSlot } from '../../../migration/replicate/create-slot.ts'
import { dropPublicationAndSlot } from '../../../migration/replicate/replication-slot.ts'
import { analyzeTables } from '../../../migration/schema/analyze.ts'
import { buildIndexes } from '../../../migration/schema/build-indexes.ts'
import { refuseFailedObjects } from '../../../migration/schema/failed-objects.ts'
import { prepareDatabase } from '../../../migration/schema/prepare-database.ts'
import { startIndexes } from '../../../migration/schema/start-indexes.ts'
import {
  createSourceDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
  type TestMigration,
} from '../../support/servers.ts'
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

/** A machine may be busy: ms. */
const PATIENCE = { timeout: 30_000 }

async function planned(database: string, ddl: string): Promise<TestMigration> {
  await createSourceDatabase(pair, database, ddl)
  const migration = await createTestMigration(pair, database, { key: `m-${database.replace('_', '-')}` })
  await prepareDatabase(migration.context)
  await createSlot(migration.context)
  await planDatabaseLoad(migration.context)
  return migration
}

/** How often each table was analyzed. */
async function analyzeCounts(database: string): Promise<Record<string, number>> {
  await using admin = await pair.target.connect(database)
  const { rows } = await admin.query<{ name: string; n: number }>(
    `select relname as name, analyze_count::int as n from pg_stat_user_tables
      where schemaname = 'public' and analyze_count > 0`,
  )
  return Object.fromEntries(rows.map(({ name, n }) => [name, n]))
}

test('a table is analyzed once, when it is in with its indexes, and a parent when all below it is', async () => {
  await using migration = await planned(
    'in_turn',
    `create table z_held (id int primary key); create table plain (v int);
     create table indexed (id int primary key, v int); create index indexed_digit on indexed ((v % 10));
     create statistics indexed_both on id, v from indexed; alter statistics indexed_both set statistics 10;
     create table parts (id int primary key) partition by range (id);
     create table parts_1 partition of parts for values from (0) to (1000);
     create index parts_digit on parts ((id % 10));
     create table kin (id int); create table child () inherits (kin);
     insert into z_held select generate_series(1, 500); insert into plain select generate_series(1, 500);
     insert into indexed select n, n from generate_series(1, 500) as n; insert into parts select generate_series(1, 500);
     insert into child select generate_series(1, 500)`,
  )
  const { context } = migration
  // The last one of tables of one size.
  await using blocker = await pair.target.connect('in_turn')
  await blocker.query('begin; lock table z_held in access exclusive mode')
  const copying = copyTables(context, { worker: 0 })
  const starting = startIndexes(context)
  await expect.poll(() => analyzeCounts('in_turn'), PATIENCE).toEqual({ plain: 1, indexed: 1, child: 1 })
  await blocker.query('rollback')
  expect(await copying).toMatchObject({ errored: 0, remaining: 0 })
  await starting
  const all = { z_held: 1, plain: 1, indexed: 1, parts: 1, parts_1: 1, kin: 1, child: 1 }
  for (let run = 0; run < 2; run++) {
    expect(await buildIndexes(context)).toEqual({ finished: true })
    await expect.poll(() => analyzeCounts('in_turn'), PATIENCE).toEqual(all)
  }
  await using target = await pair.target.connect('in_turn')
  const { rows } = await target.query(
    `select (select array_agg(distinct tablename::text order by tablename::text) from pg_stats
              where tablename like '%digit' or tablename ~ 'parts.*expr') as expressions,
            (select array_agg(tablename::text) from pg_stats where tablename = 'kin' and inherited) as inherited,
            (select count(*)::int from pg_stats_ext where dependencies is not null) as extended`,
  )
  expect(rows).toEqual([{ expressions: ['indexed_digit', 'parts_1_expr_idx'], inherited: ['kin'], extended: 1 }])
  await dropPublicationAndSlot(context)
})

test('a table of which an index is built later than the others is analyzed once more', async () => {
  await using migration = await planned(
    'later',
    `create table other (id int primary key); create table late (v int);
     create function digit(v int) returns int immutable language plpgsql as 'begin return 10 / v; end';
     create index late_digit on late (digit(v));
     insert into late select generate_series(1, 500); insert into other values (1)`,
  )
  const { context } = migration
  await using target = await pair.target.connect('later')
  await target.query(`create or replace function digit(v int) returns int immutable language plpgsql
    as 'begin return 10 / 0; end'`)
  await copyTables(context, { worker: 0 })
  await buildIndexes(context)
  const onIndex = `select from pg_stats where tablename = 'late_digit'`
  expect((await target.query(onIndex)).rowCount).toBe(0)
  await target.query(`create or replace function digit(v int) returns int immutable language plpgsql
    as 'begin return 10 / v; end'`)
  expect(await refuseFailedObjects(context)).toEqual({ mended: 1 })
  expect((await target.query(onIndex)).rowCount).toBe(1)
  await expect.poll(() => analyzeCounts('later'), PATIENCE).toEqual({ other: 1, late: 2 })
  await dropPublicationAndSlot(context)
})

test('a table that the role may not analyze is named in a warning, and the others are analyzed', async () => {
  await using migration = await planned(
    'foreigner',
    `create table mine (id int); create table theirs (id int); insert into mine values (1); insert into theirs values (1)`,
  )
  const { context } = migration
  await copyTables(context, { worker: 0 })
  await using admin = await pair.target.connect('foreigner')
  // The owner of a database may analyze all of it.
  await admin.query(`alter table theirs owner to postgres; alter database foreigner owner to postgres`)
  await buildIndexes(context)
  expect(Object.keys(await analyzeCounts('foreigner'))).toEqual(['mine'])
  expect((await context.status({})).warnings.join(' ')).toMatch(/ANALYZE public\.theirs: permission denied to analyze/)
  await dropPublicationAndSlot(context)
})
