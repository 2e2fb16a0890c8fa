import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { copyUnloggedTables } from '../../../migration/load/copy-unlogged-tables.ts'
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
  expect(await copyUnloggedTables(context)).toEqual({ tables: 2, rows: 200 + 452 })
  await expectEqual(pair, 'unlogged')
  expect(await triggerModes()).toEqual(modes)
  // A second run brings the same.
  expect(await copyUnloggedTables(context)).toEqual({ tables: 2, rows: 200 + 452 })
  await expectEqual(pair, 'unlogged')
  await expectNoLeaks(pair)
})

test('a failure leaves the unlogged tables of the target as they were', async () => {
  await using migration = await createLoadDatabase(pair, 'refused', {
    ddl: 'create unlogged table public.a (id int); create unlogged table public.b (id int)',
    data: 'insert into public.a values (1); insert into public.b values (-1)',
  })
  await using target = await pair.target.connect('refused')
  await target.query('insert into public.a values (42); alter table public.b add check (id > 0)')
  await expect(copyUnloggedTables(migration.context)).rejects.toThrow(/check constraint/)
  const { rows } = await target.query('select id from public.a')
  expect(rows).toEqual([{ id: 42 }])
  await expectNoLeaks(pair)
})

test('a database without unlogged tables is left alone', async () => {
  await using migration = await createLoadDatabase(pair, 'logged', { ddl: 'create table public.t (id int)' })
  expect(await copyUnloggedTables(migration.context)).toEqual({ tables: 0, rows: 0 })
})
