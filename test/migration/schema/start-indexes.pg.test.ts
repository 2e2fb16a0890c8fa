import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planDatabaseLoad } from '../../../migration/load/plan-database-load.ts'
import { createSlot } from '../../../migration/replicate/create-slot.ts'
import { dropPublicationAndSlot } from '../../../migration/replicate/replication-slot.ts'
import { buildIndexes } from '../../../migration/schema/build-indexes.ts'
import { prepareDatabase } from '../../../migration/schema/prepare-database.ts'
import { startIndexes } from '../../../migration/schema/start-indexes.ts'
import {
  createSourceDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
  type TestMigration,
} from '../../support/servers.ts'

/** A machine may be busy: ms. */
const PATIENCE = { timeout: 30_000 }

const TABLES = `
  create table first (id int primary key, v int, during int4range, exclude using gist (during with &&));
  create index on first (v);
  create table held (id int primary key, v int);
  create index on held (v);
  create view grouped as select id, v from held group by id;
  insert into first select n, n, int4range(n, n + 1) from generate_series(1, 1000) as n;
  insert into held select n, n from generate_series(1, 1000) as n;`

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

async function planned(database: string): Promise<TestMigration> {
  await createSourceDatabase(pair, database, TABLES)
  const migration = await createTestMigration(pair, database, { key: `m-${database}` })
  await prepareDatabase(migration.context)
  await createSlot(migration.context)
  await planDatabaseLoad(migration.context)
  return migration
}

/** Valid indexes of the target, by table. */
async function indexes(database: string): Promise<Record<string, number>> {
  await using admin = await pair.target.connect(database)
  const { rows } = await admin.query<{ name: string; n: number }>(
    `select indrelid::regclass::text as name, count(*)::int as n
       from pg_index where indisvalid and indrelid in ('first'::regclass, 'held'::regclass) group by 1`,
  )
  return Object.fromEntries(rows.map(({ name, n }) => [name, n]))
}

test('a table has its indexes while another one is still being copied, and the rest is made once', async () => {
  await using migration = await planned('early')
  const { context } = migration
  await using blocker = await pair.target.connect('early')
  await blocker.query('begin; lock table held in access exclusive mode')
  const copying = copyTables(context, { worker: 0 })
  const starting = startIndexes(context)
  await expect.poll(() => indexes('early'), PATIENCE).toEqual({ first: 3 })
  await blocker.query('rollback')
  expect(await copying).toMatchObject({ errored: 0, remaining: 0 })
  await starting
  expect(await indexes('early')).toEqual({ first: 3, held: 2 })
  expect(await buildIndexes(context)).toEqual({ finished: true })
  expect((await context.status({})).warnings.filter((warning) => warning.includes('could not be made'))).toEqual([])
  await using target = await context.target('look')
  const { rows } = await target.query(
    `select count(*) filter (where contype = 'p') as keys, count(*) filter (where contype = 'x') as exclusions,
            to_regclass('public.grouped') is not null as view, (select count(*) from pgflex.statement where section = 'post-data' and state <> 'done') as open
       from pg_constraint where conrelid in ('public.first'::regclass, 'public.held'::regclass)`,
  )
  expect(rows).toEqual([{ keys: '2', exclusions: '1', view: 't', open: '0' }])
  await dropPublicationAndSlot(context)
})

test('a host that stops ends the head start, and the indexes are built after it', async () => {
  await using migration = await planned('stopped')
  const { context } = migration
  const starting = startIndexes(context)
  await using admin = await pair.target.connect('stopped')
  await expect
    .poll(async () => (await admin.query('select from pgflex.statement where kind = $1', ['INDEX'])).rowCount, PATIENCE)
    .toBeGreaterThan(0)
  migration.drain()
  await starting
  expect(await indexes('stopped')).toEqual({})
  await using again = await createTestMigration(pair, 'stopped', { key: 'm-stopped' })
  await copyTables(again.context, { worker: 0 })
  expect(await buildIndexes(again.context)).toEqual({ finished: true })
  expect(await indexes('stopped')).toEqual({ first: 3, held: 2 })
  await dropPublicationAndSlot(again.context)
})
