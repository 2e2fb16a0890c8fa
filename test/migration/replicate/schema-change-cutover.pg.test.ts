import { afterAll, beforeAll, expect, test } from 'vitest'
import { cutoverDatabase } from '../../../migration/cutover/cutover-database.ts'
import { endDatabase } from '../../../migration/cutover/end-database.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planDatabaseLoad } from '../../../migration/load/plan-database-load.ts'
import { createSlot } from '../../../migration/replicate/create-slot.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import { buildIndexes } from '../../../migration/schema/build-indexes.ts'
import { prepareDatabase } from '../../../migration/schema/prepare-database.ts'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import {
  APP_USER,
  createSourceDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
} from '../../support/servers.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** Columns, keys, indexes and triggers, in words. */
const DEFINITIONS = `
  select format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity) as words
    from pg_attribute a join pg_class c on c.oid = a.attrelid
   where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
   union all
  select format('%s: %s', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n'
   union all
  select indexdef from pg_indexes where schemaname = 'public'
   union all
  select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
   order by 1`

test('what has changed while following is on the target after the cutover, with keys and triggers', async () => {
  const database = 'shop'
  await createSourceDatabase(
    pair,
    database,
    `create table customer (id int primary key, name text);
     create table orders (id int primary key, customer int references customer, note text, gone int references customer);
     create table m (at date, id int references customer, primary key (at, id)) partition by range (at);
     create table m_1 partition of m for values from ('2024-01-01') to ('2025-01-01');
     create function touch() returns trigger language plpgsql as 'begin return new; end';
     create trigger touch before update of note on orders for each row execute function touch();
     insert into customer values (1, 'one'); insert into orders values (1, 1, 'n', 1); insert into m values ('2024-01-01', 1)`,
  )
  await using migration = await createTestMigration(pair, database, { key: 'shop', pgflex: { verify: 'Checksums' } })
  const context = { ...migration.context, sliceMs: 100 }
  await prepareDatabase(context)
  await createSlot(context)
  await planDatabaseLoad(context)
  expect(await copyTables(context, { worker: 0 })).toMatchObject({ errored: 0, remaining: 0 })
  await buildIndexes(context)
  await using app = await pair.source.connect(database)
  await app.query(`set role ${APP_USER}`)
  await app.query(`alter table orders rename customer to buyer; alter table orders rename note to remark; alter table orders drop gone;
    insert into orders values (2, 1, 'r'); alter table customer rename id to number`)
  expect((await follow(context)).next).toBe('slice')
  await app.query(`create table visit (id bigint generated always as identity primary key, customer int references customer, at timestamptz default now());
    insert into visit (customer) values (1);
    create table m_2 partition of m for values from ('2025-01-01') to ('2026-01-01'); insert into m values ('2025-05-05', 1)`)
  expect((await follow(context)).next).toBe('slice')
  await app.query(
    `insert into visit (customer) values (1); update orders set remark = 'x'; alter table visit add seen boolean default false not null`,
  )
  expect((await follow(context)).next).toBe('slice')
  // Just before the cutover, without a row.
  await app.query(
    `alter table orders add referrer int references customer; alter table m rename id to who; alter table customer add since date default '2024-01-01'`,
  )
  expect(await cutoverDatabase(context)).toEqual({ next: 'finished' })
  const { warnings, verification } = await readDatabaseStatus(context.documents, context.key, database)
  expect(
    warnings.filter((text) => !/the migrating role as their owner|grants were left out|owner of database/.test(text)),
  ).toEqual([])
  expect(verification).toMatchObject({ result: 'Equal' })
  // Validates foreign keys.
  await endDatabase(context, { state: 'Succeeded' })
  await using source = await pair.source.connect(database)
  await using target = await pair.target.connect(database)
  expect((await target.query(DEFINITIONS)).rows).toEqual((await source.query(DEFINITIONS)).rows)
}, 120_000)
