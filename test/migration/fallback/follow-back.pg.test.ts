import { afterAll, beforeAll, expect, test } from 'vitest'
import { endFallback } from '../../../migration/fallback/end-fallback.ts'
import { followBack } from '../../../migration/fallback/follow-back.ts'
import { switchBack } from '../../../migration/fallback/switch-back.ts'
import type { ServerPair } from '../../support/servers.ts'
import { isFrozen, leftOf, readyToCutOver, startFallbackPair } from './cut-over.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startFallbackPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** Triggers and foreign keys that would fire or refuse, if they were not quiet. */
const SHOP = `
  create table customer (id bigint generated always as identity primary key, name text not null);
  create table orders (
    id serial primary key, number bigint generated always as identity, customer_id bigint not null references customer, total numeric(12,2) not null, doubled numeric generated always as (total * 2) stored);
  create table audit (id bigserial primary key, what text not null);
  create table note (body text);
  create function log_order() returns trigger language plpgsql as $$
  begin
    insert into public.audit (what) values (tg_op || ' ' || coalesce(new.id, old.id));
    return coalesce(new, old);
  end $$;
  create trigger audited after insert or update or delete on orders for each row execute function log_order();`
const SHOP_ROWS = `
  insert into customer (name) select 'c' || g from generate_series(1, 100) g;
  insert into orders (customer_id, total) select 1 + g % 100, g from generate_series(1, 300) g;
  insert into note select 'n' || g from generate_series(1, 10) g;`

test('what is written on the new server after the cutover comes back, and triggers do not fire for it again', async () => {
  await using way = await readyToCutOver(pair, 'comes_back', { ddl: SHOP, rows: SHOP_ROWS, load: true })
  await way.onSource(`update orders set total = total + 1 where id <= 10`)
  await way.cutOver()
  {
    await using app = await way.app()
    await app.query(`insert into customer (name) values ('new one')`)
    await app.query(`insert into orders (customer_id, total) values (101, 5)`)
    await app.query(`update customer set name = upper(name) where id <= 20`)
    await app.query(`begin; delete from orders where customer_id = 7; delete from customer where id = 7; commit`)
    await app.query(`update orders set id = 10000 where id = 1`)
    await app.query(`insert into note values ('one more')`)
  }
  await way.expectEqual()
  expect(await way.onSource('select count(*)::int as n from customer')).toEqual([{ n: 100 }])
  // One line of the trigger for each change, as on the new server: none for what the apply did.
  const lines = `select count(*)::int as n, count(distinct id)::int as ids from audit`
  expect(await way.onSource(lines)).toEqual(await way.onTarget(lines))
  expect(await isFrozen(way, 'source')).toBe(true)
  expect(await isFrozen(way, 'target')).toBe(false)
})

test('the changes that the cutover itself brought are not brought back', async () => {
  await using way = await readyToCutOver(pair, 'no_circle', {
    ddl: 'create table t (id int primary key, v int)',
    rows: 'insert into t select g, 0 from generate_series(1, 50) g',
  })
  // Applied to the target after the slot of the way back is there: by the drain of the cutover.
  await way.onSource('alter table t add column w int default 5; update t set v = v + 1; insert into t values (51, 1)')
  await way.cutOver()
  await way.onTarget('insert into t values (52, 1)')
  await way.expectEqual()
  const { changes } = await way.backStatus()
  expect(changes).toMatchObject({ inserts: 1, updates: 0, deletes: 0, missed: 0 })
  // What was applied on the old source goes nowhere: its slot and publications are gone.
  expect(await leftOf(way)).toEqual([
    'source: schema pgflex',
    expect.stringMatching(/^target: slot pgflex_/),
    expect.stringMatching(/^target: publication pgflex_/),
    expect.stringMatching(/^target: publication pgflex_.*_inserts$/),
  ])
})

test('columns and tables that are made on the new server are brought to the old one, partitions too', async () => {
  await using way = await readyToCutOver(pair, 'altered', {
    ddl: `
      create table t (id int primary key, v text);
      create table measured (id int, at date, primary key (id, at)) partition by range (at);
      create table measured_1 partition of measured for values from ('2026-01-01') to ('2026-02-01')`,
    rows: `insert into t values (1, 'a'); insert into measured values (1, '2026-01-05')`,
    pgflex: { verify: 'Checksums' },
  })
  await way.cutOver()
  {
    await using app = await way.app()
    await app.query(`alter table t add column w int default 7; insert into t values (2, 'b', 8)`)
    await app.query(
      `create table made (id int generated always as identity primary key, v text, t_id int references t);
       insert into made (v) values ('x')`,
    )
    await app.query(`create table measured_2 partition of measured for values from ('2026-02-01') to ('2026-03-01')`)
    await app.query(`insert into measured values (2, '2026-01-06'), (3, '2026-02-06')`)
    await app.query(`truncate t cascade; insert into made (v) values ('y'); insert into t values (3, 'c', 9)`)
  }
  await followBack({ ...(await way.context()), sliceMs: 2_000 })
  await way.expectEqual()
  expect(await way.onSource('select count(*)::int as n from measured')).toEqual([{ n: 3 }])
  expect(await way.onSource('select v from made')).toEqual([{ v: 'y' }])
  await way.ask('switchBack')
  expect(await switchBack(await way.context())).toEqual({ next: 'finished' })
  expect(await endFallback(await way.context())).toEqual({ finished: true })
  expect((await way.backStatus()).warnings).toEqual([])
  expect(
    await way.onSource(
      `select convalidated, attidentity from pg_constraint, pg_attribute
        where conrelid = 'made'::regclass and contype = 'f' and attrelid = conrelid and attname = 'id'`,
    ),
  ).toEqual([{ convalidated: true, attidentity: 'a' }])
})

test('a value that the older server does not know is refused there, and not taken for another one', async () => {
  await using way = await readyToCutOver(pair, 'unknown_value', {
    ddl: 'create table t (id int primary key, v interval)',
  })
  await way.cutOver()
  await way.onTarget(`insert into t values (1, 'infinity')`)
  await expect(way.catchUp()).rejects.toThrow('invalid input syntax for type interval: "infinity"')
  expect(await way.onSource('select from t')).toEqual([])
})
