import { afterAll, beforeAll, expect, test } from 'vitest'
import type { DatabaseContext } from '../../../migration/context.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { copyUnfollowedTables } from '../../../migration/load/copy-unfollowed-tables.ts'
import { replicateSlice } from '../../../migration/replicate/replicate-slice.ts'
import { createPublicationAndSlot, dropPublicationAndSlot } from '../../../migration/replicate/replication-slot.ts'
import { takeEndLsn } from '../../../migration/cutover/end-lsn.ts'
import { planLoad } from '../../../migration/load/plan-load.ts'
import { startServerPair, TARGET_USER, type ServerPair } from '../../support/servers.ts'
import { createLoadDatabase, expectEqual, expectNoLeaks } from './load-database.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = `
  create unlogged table public.a_detail (id int primary key, head int, note text);
  create unlogged table public.b_head (id int primary key, parent int, note text);
  create table public.logged (id int primary key)`

/** What the schema step adds after the load: keys between unlogged tables, against their alphabet, and triggers. */
const POST_DATA = `
  alter table public.a_detail add foreign key (head) references public.b_head;
  alter table public.b_head add foreign key (parent) references public.b_head deferrable initially deferred;
  alter table public.b_head add foreign key (parent) references public.logged;
  create function public.shout() returns trigger language plpgsql as $$ begin new.note := upper(new.note); return new; end $$;
  create trigger usual before insert on public.b_head for each row execute function public.shout();
  create trigger eager before insert on public.b_head for each row execute function public.shout();
  alter table public.b_head enable always trigger eager;
  create trigger asleep before insert on public.b_head for each row execute function public.shout();
  alter table public.b_head disable trigger asleep`

async function triggerModes(): Promise<unknown[]> {
  await using target = await pair.target.connect('unlogged')
  const { rows } = await target.query(
    `select tgname, tgenabled from pg_trigger where tgrelid = 'public.b_head'::regclass and not tgisinternal order by 1`,
  )
  return rows
}

test('unlogged tables are copied again, with keys among them and triggers that stay as they were', async () => {
  await using migration = await createLoadDatabase(pair, 'unlogged', {
    ddl: DDL,
    data: `insert into public.logged select generate_series(1, 300);
      insert into public.b_head select i, nullif(i - 1, 0), 'head' from generate_series(1, 100) i;
      insert into public.a_detail select i, i % 100 + 1, 'detail' from generate_series(1, 500) i`,
  })
  const { context } = migration
  await using _slot = await followed(context)
  await planLoad(context)
  expect(await copyTables(context, { worker: 0 })).toMatchObject({ copied: 3, remaining: 0 })
  {
    await using target = await pair.target.connect('unlogged')
    await target.query(`set role ${TARGET_USER}`)
    await target.query(POST_DATA)
    await using source = await pair.source.connect('unlogged')
    await source.query(`insert into public.b_head select i, i - 1, 'later' from generate_series(101, 200) i;
      delete from public.a_detail where id < 50; insert into public.a_detail values (1000, 200, 'last')`)
  }
  const modes = await triggerModes()
  expect(await copyUnfollowedTables(context)).toEqual({ tables: 2, rows: 200 + 452 })
  await expectEqual(pair, 'unlogged')
  expect(await triggerModes()).toEqual(modes)
  // A second run brings the same.
  expect(await copyUnfollowedTables(context)).toEqual({ tables: 2, rows: 200 + 452 })
  await expectEqual(pair, 'unlogged')
})

test('a failure leaves the unlogged tables of the target as they were', async () => {
  await using migration = await createLoadDatabase(pair, 'refused', {
    ddl: 'create unlogged table public.a (id int); create unlogged table public.b (id int)',
    data: 'insert into public.a values (1); insert into public.b values (-1)',
  })
  await using target = await pair.target.connect('refused')
  await target.query('insert into public.a values (42); alter table public.b add check (id > 0)')
  await expect(copyUnfollowedTables(migration.context)).rejects.toThrow(/check constraint/)
  const { rows } = await target.query('select id from public.a')
  expect(rows).toEqual([{ id: 42 }])
  await expectNoLeaks(pair)
})

test('tables without identity are copied again, whatever was followed of them', async () => {
  await using migration = await createLoadDatabase(pair, 'keyless', {
    ddl: `create table public.journal (note text, unique (note));
      create table public.hidden (id int primary key); alter table public.hidden replica identity nothing;
      create table public.parts (id int, v text) partition by range (id);
      create table public.parts_1 partition of public.parts for values from (0) to (100);
      create table public.parts_2 partition of public.parts for values from (100) to (200);
      create table public.keyed (id int primary key, v text)`,
    data: `insert into public.journal select 'note ' || i from generate_series(1, 50) i;
      insert into public.hidden select generate_series(1, 50);
      insert into public.parts select i, 'v' from generate_series(1, 150) i;
      insert into public.keyed select i, 'v' from generate_series(1, 50) i`,
  })
  const { context } = migration
  await using _slot = await followed(context)
  await planLoad(context)
  expect(await copyTables(context, { worker: 0 })).toMatchObject({ copied: 5, errored: 0, remaining: 0 })
  await using app = await pair.source.connect('keyless')
  await app.query(`insert into public.journal values ('later'); delete from public.journal where note like 'note 1%';
    update public.hidden set id = id + 1000 where id < 5; delete from public.hidden where id > 40 and id < 1000;
    update public.parts set id = id + 60 where id between 60 and 80; update public.parts set v = 'w' where id < 20;
    delete from public.keyed where id > 30; insert into public.keyed values (1000, 'later')`)
  await catchUp(context)
  await using target = await pair.target.connect('keyless')
  // What is followed is there already, and the copy leaves it alone.
  const keyed = (await target.query('select count(*), max(xmin::text::int8) from public.keyed')).rows
  expect(await copyUnfollowedTables(context)).toEqual({ tables: 4, rows: 51 - 11 + 40 + 150 })
  await expectEqual(pair, 'keyless')
  expect((await target.query('select count(*), max(xmin::text::int8) from public.keyed')).rows).toEqual(keyed)
})

test('after a cutover that was called off, rows that the copy has brought are not inserted a second time', async () => {
  await using migration = await createLoadDatabase(pair, 'again', {
    ddl: 'create table public.journal (note text); create table public.strict (note text unique)',
  })
  const { context } = migration
  await using _slot = await followed(context)
  await planLoad(context)
  await copyTables(context, { worker: 0 })
  await using app = await pair.source.connect('again')
  // Nobody has stopped this writer: the copy sees rows that are still to come in the stream.
  await app.query(`insert into public.journal values ('a'), ('b'); insert into public.strict values ('a')`)
  expect(await copyUnfollowedTables(context)).toEqual({ tables: 2, rows: 3 })
  await catchUp(context)
  await expectEqual(pair, 'again')
  await app.query(`insert into public.journal values ('c'); insert into public.strict values ('b')`)
  await catchUp(context)
  await expectEqual(pair, 'again')
})

test('a database whose every table is followed in whole is left alone', async () => {
  await using migration = await createLoadDatabase(pair, 'logged', {
    ddl: 'create table public.t (id int primary key)',
  })
  await using _slot = await followed(migration.context)
  expect(await copyUnfollowedTables(migration.context)).toEqual({ tables: 0, rows: 0 })
})

/** Publications and slot, until the end of the block. */
async function followed(context: DatabaseContext): Promise<AsyncDisposable> {
  await createPublicationAndSlot(context)
  return {
    async [Symbol.asyncDispose]() {
      await dropPublicationAndSlot(context)
      await expectNoLeaks(pair)
    },
  }
}

async function catchUp(context: DatabaseContext): Promise<void> {
  expect(await replicateSlice(context, { ms: 60_000, until: await takeEndLsn(context) })).toMatchObject({
    reason: 'reached',
  })
}
