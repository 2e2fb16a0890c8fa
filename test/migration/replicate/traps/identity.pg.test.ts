import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readDatabaseStatus } from '../../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../../support/servers.ts'
import { startFollowing } from '../following.ts'
import { expectExact, expectSame } from './exact.ts'

describe.each([
  [13, 18],
  [18, 17],
])('PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test('trap 13: TOAST values that are not sent stay, whatever else happens to their row in the same transaction', async () => {
    await using following = await startFollowing(pair, 'trap_13', {
      ddl: `create table t (id int primary key, big text, n int, j jsonb, b bytea, a text[]);
            alter table t alter big set storage external, alter j set storage external, alter b set storage external, alter a set storage external;
            create table f (id int, big text, n int, j json); alter table f alter big set storage external, alter j set storage external;
            alter table f replica identity full;
            create table i (id int not null unique, big text, n int); alter table i alter big set storage external; alter table i replica identity using index i_id_key`,
    })
    const { app } = following
    const big = (seed: string): string => `repeat(md5((${seed})::text), 200)`
    await app.query(`insert into t select g, ${big('g')}, 0, to_jsonb(${big('g')}), ${big('g')}::bytea, array[${big('g')}, null] from generate_series(1, 12) g;
      insert into f select g % 2, ${big('g % 2')}, 0, to_json(${big('g % 2')}) from generate_series(1, 6) g;
      insert into i select g, ${big('g')}, 0 from generate_series(1, 6) g`)
    await expectExact(following)
    await app.query(`begin;
      update t set n = 1 where id = 1; update t set big = 'short' where id = 1; update t set n = 2 where id = 1;
      update t set id = 100 where id = 2; update t set n = 3 where id = 100; update t set b = null where id = 100; update t set id = 2 where id = 100;
      update t set id = -id where id in (3, 4); update t set id = case id when -3 then 4 else 3 end where id < 0; update t set n = id;
      update t set j = null where id = 5; update t set n = 5 where id = 5; delete from t where id = 6; insert into t values (6, ${big('66')}, 1); update t set n = 6 where id = 6;
      update t set n = 7 where id = 7; delete from t where id = 7;
      update t set id = 80 where id = 8; insert into t select 8, big, n, j, b, a from t where id = 80; update t set n = 8 where id in (8, 80); delete from t where id = 80;
      insert into t values (13, ${big('13')}, 1); update t set id = 14 where id = 13; update t set n = 14 where id = 14; commit`)
    await app.query(`begin; update f set n = 1 where ctid = '(0,1)'; update f set n = n + 1; update f set big = 'short' where ctid = (select max(ctid) from f);
      delete from f where ctid = (select min(ctid) from f); commit`)
    await app.query(
      `begin; update i set n = 1; update i set id = 10 where id = 1; update i set n = 2 where id = 10; delete from i where id = 2; commit`,
    )
    await expectExact(following)
    expect(await following.onTarget('select count(*) from public.t where length(big) > 6000')).toBe('11')
  })

  test('trap 14: what the old key does not carry is not taken for NULL', async () => {
    await using following = await startFollowing(pair, 'trap_14', {
      ddl: `create table t (before text not null, b int, v text not null, a int, big text, primary key (a, b)); alter table t alter big set storage external`,
    })
    const { app } = following
    await app.query(
      `insert into t select 'x' || g, g, 'v' || g, g % 3, repeat(md5(g::text), 200) from generate_series(1, 9) g`,
    )
    await expectExact(following)
    await app.query(`begin; update t set b = b + 100 where b in (1, 2); update t set v = 'w' where b = 101; commit;
      update t set a = 7, b = 7 where b = 3; delete from t where b = 4; update t set a = a where b = 5`)
    await app.query(`update t set b = -b; delete from t where b = -6`)
    await expectExact(following)
  })

  test('trap 15: keys that are stored out of line are found, changed and deleted', async () => {
    await using following = await startFollowing(pair, 'trap_15', {
      ddl: `create table k (a text, b text, n int, v text, primary key (a, b)); alter table k alter a set storage external, alter b set storage external;
            create table i (a text not null, n int, v text); alter table i alter a set storage external; create unique index i_a on i (a); alter table i replica identity using index i_a;
            create table f (a text, b bytea, n int, v text); alter table f alter a set storage external, alter b set storage external; alter table f replica identity full`,
    })
    const { app } = following
    // Rows over 2 KB are stored in parts; an index takes 2,704 bytes.
    const key = (seed: string, length = 1250): string => `rpad((${seed})::text, ${length}, 'x')`
    await app.query(`insert into k select ${key('g')}, ${key('g + 10')}, g, repeat('v', 3000) from generate_series(1, 6) g;
      insert into i select ${key('g', 2500)}, g from generate_series(1, 4) g;
      insert into f select ${key('g % 2', 3000)}, ${key('g % 2', 3000)}::bytea, 0 from generate_series(1, 6) g`)
    expect(
      (
        await app.query(
          `select relname from pg_class where relname in ('k', 'i', 'f') and pg_relation_size(reltoastrelid) > 0`,
        )
      ).rows,
    ).toHaveLength(3)
    await expectExact(following)
    await app.query(`begin; update k set v = 'w' where n = 1; update k set b = ${key(`'y'`)} where n = 2; update k set v = 'x' where n = 2; update k set a = 'short' where n = 3;
      delete from k where n = 4; update k set n = n + 100; update k set a = b, b = a where n = 105; commit;
      update i set v = 'w' where n = 1; update i set a = ${key(`'z'`, 2500)} where n = 2; delete from i where n = 3;
      update f set v = 'w' where ctid = (select min(ctid) from f); delete from f where ctid = (select max(ctid) from f); update f set a = 'short' where v = 'w'`)
    await expectExact(following)
  })

  test('trap 16: changed keys, in one transaction and over several, also of composite keys and in a circle', async () => {
    await using following = await startFollowing(pair, 'trap_16', {
      ddl: `create table t (id int primary key, v text); create table c (a int, b text, v text, primary key (b, a));
            create table p (id int primary key, v text); alter table p replica identity full;
            create table i (v text, code int not null, id int primary key); create unique index i_code on i (code); alter table i replica identity using index i_code`,
    })
    const { app } = following
    await app.query(`insert into t select g, 'v' || g from generate_series(1, 20) g; insert into c select g % 5, 'b' || g / 5, g from generate_series(0, 19) g;
      insert into p select g, 'v' || g from generate_series(1, 10) g; insert into i select 'v' || g, g * 10, g from generate_series(1, 10) g`)
    await expectExact(following)
    await app.query(`begin; update t set id = 100 where id = 1; update t set id = 1 where id = 2; update t set id = 2 where id = 3; update t set id = 3 where id = 100; commit;
      update t set id = id + 1000 where id > 10; begin; delete from t where id = 4; update t set id = 4 where id = 5; insert into t values (5, 'new'); update t set v = 'w' where id in (4, 5); commit;
      begin; insert into t values (50, 'a'); update t set id = 51 where id = 50; update t set id = 52 where id = 51; delete from t where id = 52; insert into t values (50, 'b'); commit`)
    await app.query(`begin; update c set a = -1 where a = 0; update c set a = 0 where a = 1; update c set a = 1 where a = -1; update c set b = b || '!' where a = 2; commit;
      update c set a = a + 1, b = 'all' where b = 'b3'`)
    await app.query(
      `begin; update p set id = -id; update p set id = 11 + id; delete from p where id = 3; insert into p values (3, 'again'); commit`,
    )
    await app.query(`begin; update i set code = -code; update i set code = 110 + code; update i set id = 0 where id = 1; update i set v = 'w' where code = 100;
      delete from i where code = 20; insert into i values ('x', 20, 30); commit`)
    await expectExact(following)
  })

  test('trap 17: of rows that are alike exactly one is changed or deleted at a time', async () => {
    await using following = await startFollowing(pair, 'trap_17', {
      ddl: `create table f (a int, v text); alter table f replica identity full; create table n (); alter table n replica identity full;
            create table one (v bool); alter table one replica identity full`,
    })
    const { app } = following
    await app.query(`insert into f select g % 2, 'same' from generate_series(1, 40) g; insert into one select true from generate_series(1, 8);
      insert into n select from generate_series(1, 5)`)
    await expectExact(following)
    // Rows become alike, stop being it, and one by one they go, all in one transaction.
    await app.query(`begin; update f set a = 1 where ctid in (select ctid from f where a = 0 limit 3); update f set v = 'other' where ctid in (select ctid from f where a = 1 limit 7);
      delete from f where ctid in (select ctid from f where v = 'other' limit 2); update f set v = 'same' where v = 'other'; insert into f values (1, 'same');
      delete from f where ctid in (select ctid from f where a = 1 limit 1); commit`)
    await app.query(
      `update one set v = not v where ctid in (select ctid from one limit 3); delete from one where ctid in (select ctid from one where v limit 2); update one set v = v`,
    )
    await app.query(`delete from n where ctid = (select min(ctid) from n)`)
    await expectExact(following)
    expect(await expectSame(following, 'select a, v, count(*) from public.f group by 1, 2 order by 1, 2')).toHaveLength(
      2,
    )
    expect(await following.onTarget('select count(*) from public.n')).toBe('4')
  })

  test('trap 18: NULL in a row without key is found, and only NULL', async () => {
    await using following = await startFollowing(pair, 'trap_18', {
      ddl: `create table f (a int, b text, c int[]); alter table f replica identity full; create table u (a int unique, b text); alter table u replica identity full`,
    })
    const { app } = following
    // Those with NULL last: taken for anything, it would meet another row first.
    await app.query(`insert into f select a, b, c from (values (1, 'NULL', '{NULL}'::int[]), (0, '', '{}'), (null, '', null), (null, null, null)) v (a, b, c), generate_series(1, 3);
      insert into u values (1, null), (2, 'a'), (null, 'a'), (null, 'a'), (null, null)`)
    await app.query(`delete from f where ctid in (select min(ctid) from f group by a, b, c); update f set b = 'was null' where ctid = (select min(ctid) from f where a is null and b is null);
      update f set a = null where a = 0; update f set c = null where b = 'NULL'; update u set b = 'b' where ctid = (select min(ctid) from u where a is null); update u set a = 3 where b = 'b'; delete from u where a = 1; delete from u where a is null and b is null`)
    await expectExact(following)
  })

  test('trap 19: rows without key are told apart by what = cannot, or would not', async () => {
    await using following = await startFollowing(pair, 'trap_19', {
      ddl: `create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); create extension citext;
            create table f (n int, f8 float8, f4 float4, num numeric, j json, jb jsonb, x xml, p point, box box, ci text collate ci, cit citext, iv interval, ch char(5), i inet, a text[], lp path, tz timetz);
            alter table f replica identity full`,
    })
    const { app } = following
    const same = [
      `'NaN', 'NaN', 1.0, '{"a":1}', '1', '<a/>', '(1,2)', '(1,1),(0,0)', 'a', 'a', '1 day', 'x', '1.2.3.4', '{a}', '[(0,0),(1,1)]', '00:00+00'`,
      `'-0', '-0', 1.00, '{"a": 1}', '1.0', '<a></a>', '(1,-0)', '(0,0),(1,1)', 'A', 'A', '24:00:00', 'x ', '1.2.3.4/32', '{A}', '((0,0),(1,1))', '01:00+01'`,
      `'0', '0', 1.000, ' {"a":1}', '1.00', '<a />', '(1,0)', '(2,2),(1,1)', 'á', 'Á', '1 day 00:00:00', '', '1.2.3.4/24', '[0:0]={a}', '[(0,0),(1,-0)]', '00:00-00'`,
    ]
    for (const row of same)
      await app.query(`insert into f select g, ${row} from generate_series(1, 1) h, (values (0), (0), (1)) g (g)`)
    await expectExact(following)
    // One after the other, each by the whole row as it was.
    await app.query(`update f set n = 2 where ctid in (select max(ctid) from f where n = 0 group by f8::text, num::text); update f set n = 3 where f8::text = '-0' and n = 0;
      delete from f where num::text = '1.00' and n = 2; update f set ci = upper(ci) where f8 = 'NaN'; update f set iv = '24:00' where n = 1; delete from f where n = 1 and x::text = '<a />'`)
    await expectExact(following)
  })

  test('trap 20: FULL on a table with generated columns does not break the statements of the application', async () => {
    const virtual = sourceMajor >= 18 && targetMajor >= 18 ? ', v2 int generated always as (n * 2) virtual' : ''
    await using following = await startFollowing(pair, 'trap_20', {
      ddl: `create table f (n int, twice int generated always as (n * 2) stored ${virtual}, v text); alter table f replica identity full;
            create table p (twice int generated always as (n * 2) stored, n int primary key, v text); alter table p replica identity full;
            create table g (n int not null, twice int generated always as (n * 2) stored primary key, v text);
            create table c (a int not null, n int not null, twice int generated always as (n * 2) stored, v text, primary key (a, twice));
            create table i (n int not null, twice int generated always as (n * 2) stored not null unique, v text); alter table i replica identity using index i_twice_key`,
    })
    const { app } = following
    for (const table of ['f', 'p', 'g', 'i']) {
      await app.query(`insert into ${table} (n, v) select g, 'v' from generate_series(1, 4) g`)
    }
    await app.query(`insert into c (a, n, v) select 1, g, 'v' from generate_series(1, 4) g`)
    await expectExact(following)
    for (const table of ['f', 'p', 'g', 'c', 'i']) {
      await app.query(
        `update ${table} set v = 'w' where n = 1; update ${table} set n = 20 where n = 2; delete from ${table} where n = 3`,
      )
    }
    await following.catchUp()
    // What cannot be followed is known as such: it is copied again at cutover.
    const { warnings } = await readDatabaseStatus(following.context.documents, following.context.key, 'trap_20')
    const unfollowed =
      warnings
        .join()
        .match(/replica identity: ([^.]+\.\w+(, public\.\w+)*)/)?.[1]
        ?.split(', ') ?? []
    expect(unfollowed).toEqual(
      sourceMajor >= 18
        ? ['public.c', 'public.f', 'public.g', 'public.i', 'public.p']
        : ['public.c', 'public.g', 'public.i'],
    )
    for (const table of ['f', 'p', 'g', 'c', 'i']) {
      if (!unfollowed.includes(`public.${table}`))
        await expectSame(following, `select n, twice, v from public.${table} order by n`)
    }
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })

  test('trap 21: with FULL the primary key finds the row, not the flags of all columns', async () => {
    await using following = await startFollowing(pair, 'trap_21', {
      ddl: `create table t (v text, f float8, b int, a int, j json, primary key (a, b)); alter table t replica identity full`,
    })
    const { app } = following
    await app.query(`insert into t select 'v', 'NaN', g, g % 3, '{"a": 1}' from generate_series(1, 9) g`)
    await expectExact(following)
    // The target's row need not look the same in what is no key.
    {
      await using target = await pair.target.connect('trap_21')
      await target.query(`update t set v = 'seen by nobody' where b = 1`)
    }
    await app.query(
      `begin; update t set v = 'w'; update t set b = b + 10 where a = 1; update t set v = 'x' where b = 11; delete from t where b = 2; commit`,
    )
    await expectExact(following)
  })

  test('trap 22: a replica identity that changes on the way is followed', async () => {
    await using following = await startFollowing(pair, 'trap_22', {
      ddl: `create table t (id int primary key, code int not null unique, v text); create table f (code int not null, v text); create unique index f_code on f (code);
            alter table f replica identity full`,
    })
    const { app } = following
    await app.query(
      `insert into t select g, g * 10, 'v' from generate_series(1, 9) g; insert into f select g, 'v' from generate_series(1, 9) g`,
    )
    let step = 0
    for (const identity of ['full', 'using index t_code_key', 'default', 'using index t_code_key', 'full']) {
      step++
      await app.query(`begin; update t set v = v || '${step}' where id > 3; alter table t replica identity ${identity}; update t set v = v || '!' where id < 6; update t set code = code + 1 where id = 8;
        update t set id = id + 1 where id = 9 + ${step} - 1; delete from t where id = ${step}; commit`)
      await app.query(`begin; update f set v = v || '${step}' where code > 3; alter table f replica identity ${step % 2 ? 'using index f_code' : 'full'};
        update f set v = v || '!' where code < 6; update f set code = code + 1 where code = 9 + ${step} - 1; delete from f where code = ${step}; commit`)
      if (step % 2) await expectExact(following)
    }
    await expectExact(following)
    // With none PostgreSQL itself refuses the application's UPDATE, and goes on with INSERT.
    await app.query('alter table t replica identity nothing; insert into t values (50, 50)')
    await expect(app.query(`update t set v = 'x'`)).rejects.toMatchObject({ code: '55000' })
    await app.query(`alter table t replica identity default; update t set v = 'x'`)
    await expectExact(following)
  })

  test('trap 23: no table of the application refuses an UPDATE or a DELETE because it is published', async () => {
    await using following = await startFollowing(pair, 'trap_23', {
      ddl: `create table keyless (n int, v text); create table deferred (n int primary key deferrable, v text); create table nothing (n int primary key, v text); alter table nothing replica identity nothing;
            create table partial (n int not null, v text); create unique index on partial (n) where v is not null; create table nullable (n int unique, v text);
            create table root (n int, v text) partition by list (n); create table leaf partition of root for values in (1); create table leaf_2 partition of root (primary key (n)) for values in (2, 3);
            create table parent (n int primary key, v text); create table child () inherits (parent); create table twin (n int, v text) partition by list (n); create table twin_1 partition of twin default; alter table twin_1 replica identity full;
            create table late (n int not null, v text); create unique index late_n on late (n); alter table late replica identity using index late_n`,
    })
    const { app } = following
    const tables = ['keyless', 'deferred', 'nothing', 'partial', 'nullable', 'root', 'parent', 'child', 'twin', 'late']
    for (const table of tables) {
      await app.query(
        `insert into ${table} values (1, 'v'), (2, 'v'); update ${table} set v = 'w' where n = 1; update ${table} set n = 3 where n = 2; delete from ${table} where n = 1`,
      )
    }
    await following.catchUp()
    for (const table of ['leaf_2', 'parent', 'twin_1', 'late']) {
      await expectSame(following, `select n, v from only public.${table} order by n`)
    }
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })
})
