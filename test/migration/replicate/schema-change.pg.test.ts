import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Lsn } from '../../../migration/lsn.ts'
import { readEvents } from '../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { sourceEnd, startFollowing, type Following } from './following.ts'

describe.each([
  [15, 17],
  [13, 18],
])('PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test('columns that are added, dropped, renamed and widened come over at their place, in one transaction and in many', async () => {
    await using following = await startFollowing(pair, 'columns', {
      ddl: `create table t (id int primary key, a text, b varchar(5), n numeric(6,2));
            create table other (id int primary key, v text)`,
    })
    const { app } = following
    await app.query(
      `insert into t select g, 'a' || g, 'b', g from generate_series(1, 5) g; insert into other values (1)`,
    )
    await app.query(
      `alter table t add x int; insert into t values (6, 'six', 'b', 6, 66); update t set x = 1 where id = 2`,
    )
    await app.query(`begin; update t set a = 'before' where id = 1; insert into other values (2);
      alter table t add y text default 'it''s a \\ "default"', drop a; update t set y = 'after' where id = 1;
      alter table t rename b to renamed; alter table t alter renamed type varchar(20); insert into other values (3);
      insert into t (id, renamed, y) values (7, 'twelve chars', null); commit`)
    await following.expectEqual()
    await app.query(
      `delete from t where id = 3; alter table t alter id type bigint, alter n type numeric(12,2), alter renamed type text`,
    )
    await app.query(
      `insert into t (id, n, renamed) values (5000000000, 1234567890.12, repeat('x', 50)); update t set n = n + 1000000`,
    )
    await following.expectEqual()
    await app.query(`begin; alter table t add z timestamptz default '2024-02-03 04:05:06+07', add arr int[] default '{1,NULL,3}';
      insert into t (id) values (9); alter table t drop x; insert into t (id, z) values (10, null); commit`)
    await following.expectEqual()
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
    const { documents, key } = following.context
    const carried = (await readEvents(documents, key)).filter(({ event }) => event === 'SchemaChangeCarried')
    expect(carried.map(({ message }) => message.replace(/.*likewise: /, ''))).toEqual(
      expect.arrayContaining(['column x integer added.', 'column x dropped.']),
    )
  })

  test('what no row shows comes over as well: columns, and the defaults and NOT NULL of those that were added', async () => {
    await using following = await startFollowing(pair, 'unshown', {
      ddl: `create table t (id int primary key, v text); create table other (id int primary key, v text)`,
    })
    const { app } = following
    await app.query(`insert into t values (1, 'a'), (2, 'b')`)
    await following.expectEqual()
    await app.query(`alter table t add y text default 'first'; alter table t alter y set default 'later', add q bigint default 5 not null;
      alter table other rename v to w; alter table other add constraint other_w check (w <> '')`)
    await following.expectEqual()
    await app.query(
      `alter table t add g bigint generated always as (id * 2) stored; alter table t alter y set not null; alter table t drop v`,
    )
    await following.expectEqual()
    for (const table of ['t', 'other']) {
      expect(await definition(following, table)).toEqual(await definition(following, table, true))
    }
    await app.query(`insert into t values (3, 'x'); insert into t (id) values (4); insert into other values (4, 'w')`)
    await app.query(`alter table t alter y drop not null, alter q drop default; alter table t drop g`)
    await following.expectEqual()
    expect(await definition(following, 't')).toEqual(await definition(following, 't', true))
    // Nothing is left to be brought: the next slices leave the tables alone.
    const before = await following.onTarget(`select array_agg(xmin::text order by table_name) from pgflex.table_shape`)
    await app.query('insert into t (id, y, q) values (5, null, 1)')
    await following.expectEqual()
    await following.catchUp()
    expect(await following.onTarget(`select array_agg(xmin::text order by table_name) from pgflex.table_shape`)).toBe(
      before,
    )
  })

  test('what the catalog says counts only once the target is where the catalog is', async () => {
    await using following = await startFollowing(pair, 'early', { ddl: 'create table t (id int primary key, v text)' })
    const { app } = following
    for (let i = 0; i < 20; i++) await app.query(`insert into t values (${i}, 'v')`)
    await app.query(`alter table t drop v, add x int default 1`)
    const columns = (): Promise<string | null> =>
      following.onTarget(`select string_agg(attname, ' ' order by attnum) from pg_attribute
        where attrelid = 'public.t'::regclass and attnum > 0 and not attisdropped`)
    // It ends before or after the first transaction.
    const { reason, changes } = await following.slice({ ms: 60_000, onCommand: () => Promise.resolve(true) })
    expect({ reason, early: changes < 20 }).toEqual({ reason: 'command', early: true })
    expect(await columns()).toBe('id v')
    // Its time is over at once: it goes on to where the catalog is, with every transaction on the way.
    expect((await following.slice({ ms: 0 })).reason).toBe('time')
    await following.expectEqual()
  })

  test('a column that is dropped and made again is noticed before its first row, also where its table was looked at with others before', async () => {
    const tables = Array.from({ length: 8 }, (_, n) => `t${n}`)
    await using following = await startFollowing(pair, 'ahead', {
      ddl: tables.map((table) => `create table ${table} (id int primary key, v text)`).join('; '),
    })
    const { app } = following
    for (const table of tables) await app.query(`insert into ${table} values (1, 'old')`)
    await following.expectEqual()
    const end = Promise.withResolvers<Lsn>()
    const slice = following.slice({ ms: 60_000, until: end.promise })
    slice.catch(() => {})
    const count = (table: string): Promise<string | null> => following.onTarget(`select count(*) from public.${table}`)
    for (const table of tables.slice(0, -1)) {
      await app.query(`insert into ${table} values (2, 'new')`)
      await expect.poll(() => count(table), { timeout: 20_000 }).toBe('2')
    }
    // What cannot be told from a column that was there all the time, unless the catalog is asked after it.
    await app.query(`alter table t7 drop v; alter table t7 add v text default 'again'; insert into t7 values (2)`)
    end.resolve(await sourceEnd(following.context))
    await expect(slice).rejects.toMatchObject({ code: 'SchemaChanged' })
    expect(await count('t7')).toBe('1')
  })

  test('a change that is rolled back by a savepoint, or together with its transaction, does not come over', async () => {
    await using following = await startFollowing(pair, 'rolled_back', {
      ddl: 'create table t (id int primary key, a text)',
    })
    const { app } = following
    await app.query(`insert into t values (1, 'one')`)
    await app.query(`begin; insert into t values (2, 'two'); savepoint s; alter table t add gone int default 7, drop a; insert into t values (3);
      rollback to s; alter table t add kept int default 8; insert into t values (4, 'four'); commit`)
    await app.query(`begin; alter table t drop kept; insert into t values (5, 'five'); rollback`)
    await app.query(`insert into t values (6, 'six', null)`)
    await following.expectEqual()
    expect(
      await following.onTarget(`select string_agg(attname, ' ' order by attnum) from pg_attribute
      where attrelid = 'public.t'::regclass and attnum > 0 and not attisdropped`),
    ).toBe('id a kept')
  })

  test('several changes that are made before the stream gets there come over, when it can be told which is which', async () => {
    await using following = await startFollowing(pair, 'behind', {
      ddl: 'create table t (id int primary key, a text, b int, c int); create table u (id int primary key, a text)',
    })
    const { app } = following
    await app.query(`insert into t values (1, 'one', 1, 1); insert into u values (1, 'one')`)
    await app.query(
      `alter table t add x int default 1; insert into t (id, x) values (2, 22); alter table t drop x; insert into t (id) values (3)`,
    )
    await app.query(
      `alter table t add y text default 'y'; insert into t (id) values (4); alter table t rename y to z; update t set z = 'z' where id = 1`,
    )
    await app.query(
      `alter table t drop a; update t set b = 2 where id = 1; alter table t rename b to d; insert into t (id, d) values (5, 5)`,
    )
    await app.query(
      `insert into u values (2, 'two'); alter table u rename a to b; alter table u rename b to c; insert into u values (3, 'three'); drop table u`,
    )
    await following.catchUp()
    expect(await following.onTarget(`select string_agg(t::text, ' ' order by id) from public.t`)).toBe(
      '(1,2,1,z) (2,,,y) (3,,,y) (4,,,y) (5,5,,y)',
    )
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
    // What was dropped since is left as far as it could be followed.
    expect(Number(await following.onTarget('select count(*) from public.u'))).toBeGreaterThanOrEqual(2)
  })

  test('a group that the target refuses at first is written anew, with its changes of definitions', async () => {
    await using following = await startFollowing(pair, 'refused_first', {
      ddl: `create table t (id int primary key, code int unique, v text);
            create table d (id int primary key, code int unique deferrable initially deferred)`,
    })
    const { app } = following
    await app.query(`insert into t values (1, 10), (2, 20), (3, 30); insert into d values (1, 10), (2, 20)`)
    await following.expectEqual()
    // A unique value moves on: one statement for all rows would meet it twice.
    await app.query(`begin; alter table t add x int default 1, drop v; update t set code = 0 where id = 1; update t set code = 10, x = 2 where id = 2;
      alter table t rename x to y; update t set code = 20, y = 3 where id = 3; update t set code = 30 where id = 1; commit`)
    await app.query(`begin; update d set code = 20 where id = 1; update d set code = 10 where id = 2; commit; `)
    await app.query(
      `alter table d add w text default 'w'; begin; update d set code = 20 where id = 2; update d set code = 10 where id = 1; commit`,
    )
    await following.expectEqual()
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })

  test('unlogged tables and tables without identity change as the others do', async () => {
    await using following = await startFollowing(pair, 'others', {
      ddl: `create unlogged table u (id int primary key, v text); create table k (a text, b int); create table f (a text); alter table f replica identity full`,
    })
    const { app } = following
    await app.query(`insert into k values ('a', 1); insert into f values ('a'), ('a'), (null)`)
    await app.query(`alter table k drop a, add c text default 'c'; insert into k values (2, 'd'); alter table u drop v, add w int;
      alter table f add b int default 3; update f set b = 4 where a is null`)
    await app.query(
      `begin; delete from f where a = 'a' and ctid = (select min(ctid) from f); alter table f rename a to renamed; insert into f values ('z', 9); delete from f where b = 4; commit`,
    )
    await following.expectEqual()
    for (const table of ['u', 'k', 'f']) {
      expect(await definition(following, table)).toEqual(await definition(following, table, true))
    }
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })

  test('partitions and children get the change through their parents', async () => {
    await using following = await startFollowing(pair, 'family', {
      ddl: `create table m (at date not null, id int not null, v varchar(3), w int, primary key (id, at)) partition by range (at);
            create table m_1 partition of m for values from ('2024-01-01') to ('2024-07-01');
            create table m_2 partition of m for values from ('2024-07-01') to ('2025-01-01');
            create table parent (id int primary key, v text); create table child (extra text, primary key (id)) inherits (parent)`,
    })
    const { app } = following
    await app.query(
      `insert into m values ('2024-01-01', 1, 'a'), ('2024-08-01', 2, 'b'); insert into parent values (1, 'p'); insert into child values (2, 'c', 'e')`,
    )
    await app.query(`begin; update m set v = 'c' where id = 2; alter table m add x int default 3; insert into m values ('2024-08-02', 3, 'd', 1, 4);
      update m set x = 5 where id = 1; alter table m rename v to vv; alter table m alter vv type text; update m set vv = 'longer' where id = 2; commit`)
    await app.query(`alter table m drop w; update m set at = at + 182 where id = 1`)
    await app.query(
      `alter table parent add y text default 'y'; insert into child values (3, 'v', 'e', 'z'); insert into parent values (4); alter table child add own int; insert into child (id, own) values (5, 5)`,
    )
    await following.expectEqual()
    await app.query(
      `alter table parent rename v to renamed; alter table m add late int; insert into child (id, renamed) values (6, 'r')`,
    )
    await following.expectEqual()
    for (const table of ['m', 'm_1', 'm_2', 'parent', 'child']) {
      expect(await definition(following, table)).toEqual(await definition(following, table, true))
    }
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })

  test('partitions that are attached and detached, and children that change their parents, do so on the target', async () => {
    await using following = await startFollowing(pair, 'parents', {
      ddl: `create table m (at date primary key, v text) partition by range (at);
            create table m_1 partition of m for values from ('2024-01-01') to ('2025-01-01');
            create table m_2 (at date primary key, v text); create table p (id int); create table c (id int, x int)`,
    })
    const { app } = following
    await app.query(
      `insert into m values ('2024-01-01', 'a'); insert into m_2 values ('2025-02-02', 'b'); insert into c values (1, 1)`,
    )
    await app.query(`alter table m attach partition m_2 for values from ('2025-01-01') to ('2026-01-01'); insert into m values ('2025-03-03', 'c');
      alter table m detach partition m_1; alter table c inherit p`)
    await following.expectEqual()
    expect(await following.onTarget(`select string_agg(v, ' ' order by at) from public.m`)).toBe('b c')
    expect(await following.onTarget(`select count(*) from public.p`)).toBe('1')
    await app.query(
      `alter table m_1 add x int; insert into m_1 values ('2024-02-02', 'd', 1); alter table c no inherit p; alter table m add y int default 1; insert into m values ('2025-04-04', 'e')`,
    )
    await following.expectEqual()
    expect(await following.onTarget(`select count(*) from public.p`)).toBe('0')
    expect(await definition(following, 'm_1')).toEqual(await definition(following, 'm_1', true))
  })
})

/** Columns with all that belongs to them, as the catalog of one side has them. */
async function definition(following: Following, table: string, onSource = false): Promise<unknown> {
  await using connection = await (onSource ? following.context.source('test') : following.context.target('test'))
  const { rows } = await connection.query(
    `select a.attname, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull, a.attgenerated, pg_get_expr(d.adbin, d.adrelid) as expression
       from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum`,
    [`public.${table}`],
  )
  return rows
}
