import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseLsn } from '../../../../migration/lsn.ts'
import { APP_USER, startServerPair, type ServerPair } from '../../../support/servers.ts'
import { sourceEnd, startFollowing } from '../following.ts'
import { expectExact, expectSame } from './exact.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17, { sourceSettings: { max_prepared_transactions: '5' } })
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

test('trap 3: what counts is where a transaction commits, not where its changes are', async () => {
  await using following = await startFollowing(pair, 'trap_3', {
    ddl: 'create table t (id int primary key, v text); create table u (id int primary key, v text)',
  })
  const { app } = following
  await using other = await pair.source.connect('trap_3')
  await using target = await pair.target.connect('trap_3')
  await other.query(`set role ${APP_USER}`)
  await app.query(`insert into t values (1, 'a'), (2, 'a')`)
  await expectExact(following)
  // The long one writes first and commits last; in between the target goes on, and u is copied.
  await other.query(
    `begin; insert into t values (3, 'long'); insert into u values (3, 'long'); update t set v = 'long' where id = 1`,
  )
  await app.query(
    `begin; insert into t values (4, 'short'); insert into u values (4, 'short'); update t set v = 'short' where id = 2; commit`,
  )
  await expectExact(following)
  const applied = parseLsn((await following.onTarget('select applied_lsn from pgflex.progress'))!)
  await app.query(`insert into u values (5, 'copied')`)
  await target.query(`insert into u values (5, 'copied')`)
  await target.query(`update pgflex.table_copy set snapshot_lsn = $1 where table_name = 'u'`, [
    (await app.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn')).rows[0]!.lsn,
  ])
  await other.query(
    `update t set v = 'longer' where id = 2; savepoint s; update u set v = 'no' where id = 3; rollback to s`,
  )
  await app.query(`insert into t values (6, 'between')`)
  await other.query('commit')
  await expectExact(following)
  expect(parseLsn((await following.onTarget('select applied_lsn from pgflex.progress'))!)).toBeGreaterThan(applied)
  expect(await following.onTarget(`select string_agg(id || v, ' ' order by id) from public.u`)).toBe(
    '3long 4short 5copied',
  )
})

test('trap 36: TRUNCATE of several tables, with RESTART IDENTITY, CASCADE and foreign keys, also to tables outside', async () => {
  await using following = await startFollowing(pair, 'trap_36', {
    ddl: `create table a (id int generated always as identity primary key, v text); create table b (id serial primary key, a int); create table c (id int primary key, b int);
          create table parent (id int primary key); create table child (primary key (id)) inherits (parent); create table alone (n int); create schema s; create table s."T,""1" (n int primary key);
          create table r (id int, k int, primary key (id, k)) partition by list (k); create table r_1 partition of r for values in (1); create table r_2 partition of r for values in (2) partition by range (id); create table r_2_1 partition of r_2 default;
          create table outside (id int primary key, b int)`,
    // On the target foreign keys come at cutover.
    sourceDdl: `alter table b add foreign key (a) references a; alter table c add foreign key (b) references b deferrable; alter table outside add foreign key (b) references b;
      create table unlogged_ as select 1 as n`,
    targetDdl: 'create table unlogged_ (n int); drop table outside',
    pgflex: { excludeTables: ['public.outside', 'public.unlogged_'] },
  })
  const { app } = following
  await using target = await pair.target.connect('trap_36')
  await target.query(`delete from pgflex.table_copy where table_name in ('outside', 'unlogged_'); drop table unlogged_`)
  await app.query('drop table unlogged_')
  const fill = `insert into a (v) select 'v' from generate_series(1, 5); insert into b (a) select max(id) from a; insert into c select max(id), max(id) from b;
    insert into parent values (1) on conflict do nothing; insert into child values (2) on conflict do nothing; insert into alone values (1), (1); insert into s."T,""1" values (1) on conflict do nothing;
    insert into r values (1, 1), (1, 2), (2, 2) on conflict do nothing`
  const tables = ['a', 'b', 'c', 'parent', 'child', 'alone', 's."T,""1"', 'r_1', 'r_2_1']
  const same = async (): Promise<void> => {
    await following.catchUp()
    for (const table of tables) {
      await expectSame(
        following,
        `select t::text from only ${table.includes('.') ? table : `public.${table}`} t order by 1`,
      )
    }
  }
  await app.query(`${fill}; insert into outside select 1, max(id) from b`)
  await same()
  await app.query(
    `begin; ${fill}; truncate a cascade; insert into a (v) values ('after'); truncate parent, s."T,""1", alone; insert into alone values (2); insert into child values (7); commit`,
  )
  await same()
  await app.query(
    `${fill}; begin; truncate b, c, outside, a restart identity; ${fill}; truncate only parent; truncate r; insert into r values (5, 1); commit`,
  )
  await same()
  // One transaction that empties, fills and empties again, then is taken back in part.
  await app.query(`begin; truncate a, b, c, outside restart identity; savepoint s; ${fill}; truncate a, alone cascade; rollback to s; insert into c values (9); truncate r_1; insert into r values (6, 1); delete from r where id = 6;
    truncate child; insert into child values (8); update child set id = 9; truncate s."T,""1"; commit`)
  await same()
  await app.query('begin; truncate a, b, c, outside, parent, alone; rollback')
  await same()
  expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
})

test('trap 42: what deferred constraints allow within a transaction is allowed on the target', async () => {
  await using following = await startFollowing(pair, 'trap_42', {
    ddl: `create table u (id int primary key, code int, unique (code) deferrable initially deferred);
          create table i (id int primary key, code int, unique (code) deferrable initially immediate);
          create table x (id int primary key, r int4range, exclude using gist (r with &&) deferrable initially deferred);
          create table k (id int unique deferrable, v text); alter table k replica identity full;
          create table pk (id int primary key deferrable initially deferred, other int not null, v text); create unique index pk_other on pk (other); alter table pk replica identity using index pk_other;
          create table p (id int primary key, a int, b int unique, c int unique nulls not distinct);
          create table father (id int primary key, favourite int); create table son (id int primary key, father int)`,
    sourceDdl: `alter table son add foreign key (father) references father on delete cascade on update cascade deferrable initially deferred;
      alter table father add foreign key (favourite) references son on delete set null deferrable initially deferred`,
  })
  const { app } = following
  await app.query(`insert into u select g, g from generate_series(1, 6) g; insert into i select g, g from generate_series(1, 6) g; insert into x select g, int4range(g, g + 1) from generate_series(1, 6) g;
    insert into k select g, 'v' from generate_series(1, 6) g; insert into pk select g, g * 10, 'v' from generate_series(1, 6) g; insert into p select g, g, g, g from generate_series(1, 6) g`)
  await expectExact(following)
  await app.query(`begin; update u set code = code % 6 + 1; update u set code = 7 - code where id < 3; update u set code = 6 - id where id in (3, 4); insert into u values (7, 2); delete from u where code = 2 and id < 7; commit;
    update i set code = code % 6 + 1;
    begin; update x set r = int4range(7 - id, 8 - id); insert into x values (7, '[1,7)'); delete from x where id < 7; commit;
    begin; set constraints all deferred; update k set id = 7 - id; insert into k values (1, 'twice'); delete from k where id = 1 and v = 'v'; commit;
    begin; update pk set id = id % 6 + 1; insert into pk values (3, 100, 'new'); delete from pk where other = 20; update pk set other = other + 1 where id = 1; commit`)
  await expectExact(following)
  // What waits for a check at the end of our transaction must not keep a table from being emptied in the next of theirs.
  await app.query(`begin; update u set code = -code; update u set code = 7; update u set code = id; commit`)
  await app.query(
    `truncate u, x; insert into u values (1, 1), (2, 2); begin; update u set code = 2 where id = 1; update u set code = 1 where id = 2; commit; truncate u; insert into u values (1, 1)`,
  )
  await expectExact(following)
  // Immediate ones are met in between by their order only.
  await app.query(`begin; update p set b = 0 where id = 1; update p set b = 1 where id = 2; update p set b = 2 where id = 1; delete from p where id = 3; insert into p values (7, 7, 3, 3);
    update p set c = null where id = 4; update p set c = 4 where id = 5; update p set c = 5 where id = 4; commit`)
  await expectExact(following)
  await app.query(`begin; insert into son values (1, 1), (2, 1), (3, 2); insert into father values (1, 2), (2, 3); commit;
    begin; update father set id = 10 where id = 1; delete from father where id = 2; insert into son values (4, 20); insert into father values (20, 4); commit;
    begin; delete from son where id = 2; delete from son where id = 4; delete from father where id = 20; commit`)
  await expectExact(following)
  expect(
    await following.onTarget(`select string_agg(concat_ws('-', id, father), ' ' order by id) from public.son`),
  ).toBe('1-10')
})

test('trap 43: keys that are equal and not the same are one row, whatever happens to them in one transaction', async () => {
  await using following = await startFollowing(pair, 'trap_43', {
    ddl: `create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); create extension citext;
          create table n (k numeric primary key, v int); create table f (k float8 primary key, v int); create table c (k text collate ci primary key, v int);
          create table e (k citext primary key, v int); create table i (k interval primary key, v int); create table b (k char(5) primary key, v int); create table m (k numeric, t citext, v int, primary key (t, k))`,
  })
  const { app } = following
  /** Two spellings of one key, and another key. */
  const keys = {
    n: [`1.0`, `1.00`, `2`],
    f: [`'-0'`, `'0'`, `'NaN'`],
    c: [`'a'`, `'A'`, `'b'`],
    e: [`'a'`, `'A'`, `'b'`],
    i: [`'1 day'`, `'24:00'`, `'1 mon'`],
    b: [`'a'`, `'a '`, `'b'`],
  }
  const story = (t: string, one: string, same: string, other: string): string[] => [
    `insert into ${t} values (${one}, 1)`,
    `update ${t} set k = ${same}`,
    `delete from ${t} where k = ${one}; insert into ${t} values (${one}, 2); update ${t} set v = 3 where k = ${same}`,
    `begin; delete from ${t}; insert into ${t} values (${same}, 4), (${other}, 4); update ${t} set k = ${one} where k = ${same}; update ${t} set v = 5; delete from ${t} where k = ${same}; insert into ${t} values (${same}, 6); commit`,
    `begin; update ${t} set k = ${one} where k = ${one}; delete from ${t} where k = ${one}; insert into ${t} values (${one}, 7); delete from ${t} where k = ${one}; insert into ${t} values (${same}, 8); update ${t} set k = ${one}, v = 9 where k = ${one}; commit`,
  ]
  for (const together of [true, false]) {
    await app.query(
      `delete from m; ${Object.keys(keys)
        .map((t) => `delete from ${t}`)
        .join(';')}`,
    )
    await expectExact(following)
    const stories = Object.entries(keys).map(([t, [one, same, other]]) => story(t, one!, same!, other!))
    for (let step = 0; step < 5; step++) {
      await app.query(stories.map((steps) => steps[step]!).join(';'))
      if (!together) await expectExact(following)
    }
    await app.query(
      `begin; insert into m values (1.0, 'a', 1); update m set k = 1.00; update m set t = 'A'; delete from m where t = 'a'; insert into m values (1.000, 'a', 2), (1, 'b', 2); update m set v = 3, t = 'B' where t = 'b'; commit`,
    )
    await expectExact(following)
  }
})

test('trap 44: many tables with names that differ in their last byte, and many forms of statements, are not mixed up', async () => {
  const name = (n: number): string => `"${'t'.repeat(61)}${String(n).padStart(2, '0')}"`
  const numbers = Array.from({ length: 60 }, (_, n) => n)
  await using following = await startFollowing(pair, 'trap_44', {
    ddl: numbers
      .map(
        (n) =>
          `create table ${name(n)} (id int primary key, a ${n % 2 ? 'int' : 'text'}, b text); alter table ${name(n)} alter b set storage external`,
      )
      .join(';'),
  })
  const { app } = following
  for (let round = 0; round < 3; round++) {
    await app.query(
      `begin; ${numbers
        .map(
          (
            n,
          ) => `insert into ${name(n)} select g, g * ${n}, repeat('${n}', g % 2 * 3000) from generate_series(${round * 5}, ${round * 5 + 4}) g;
      update ${name(n)} set a = '${round}' where id % ${(n % 5) + 2} = 1; delete from ${name(n)} where id = ${round * 2}`,
        )
        .join(';')}; commit`,
    )
  }
  await expectExact(following)
})

test('trap 51: rows of another origin are followed: the source may itself be a subscriber', async () => {
  await using following = await startFollowing(pair, 'trap_51', { ddl: 'create table t (id int primary key, v text)' })
  await using subscriber = await pair.source.connect('trap_51')
  await subscriber.query(
    `select pg_replication_origin_create('elsewhere'); select pg_replication_origin_session_setup('elsewhere')`,
  )
  for (let n = 1; n < 4; n++) {
    await subscriber.query(
      `begin; select pg_replication_origin_xact_setup('0/${n}00', now()); insert into t values (${n}, 'theirs'); commit`,
    )
    await following.app.query(`insert into t values (${n + 10}, 'ours'); update t set v = v || '!' where id = ${n}`)
  }
  await subscriber.query('select pg_replication_origin_session_reset()')
  await expectExact(following)
  expect(await following.onTarget('select count(*) from public.t')).toBe('6')
})

test('trap 52: logical messages of other programs change nothing, inside and outside of transactions', async () => {
  await using following = await startFollowing(pair, 'trap_52', { ddl: 'create table t (id int primary key)' })
  const { app } = following
  const message = (transactional: boolean, prefix: string, content: string): string =>
    `select pg_logical_emit_message(${transactional}, ${prefix}, ${content})`
  for (const transactional of [true, false]) {
    await app.query(message(transactional, `''`, `''`))
    await app.query(message(transactional, `'pgflex'`, `'\\x00ff4200'::bytea`))
    await app.query(
      `begin; insert into t values (${transactional ? 1 : 2}); ${message(transactional, `repeat('p', 5000)`, `repeat('{', 2000000)`)}; insert into t values (${transactional ? 3 : 4}); commit`,
    )
    await app.query(
      `begin; ${message(transactional, `'rolled back'`, `'x'`)}; rollback; begin; savepoint s; ${message(transactional, `'x'`, `'x'`)}; rollback to s; insert into t values (${transactional ? 5 : 6}); commit`,
    )
  }
  await expectExact(following)
  expect(await following.onTarget("select concat_ws(' ', inserts, transactions) from pgflex.progress")).toBe('6 4')
})

test('trap 53: a prepared transaction arrives when it is committed, one that is rolled back never', async () => {
  await using following = await startFollowing(pair, 'trap_53', {
    ddl: 'create table t (id int primary key, v text); create table u (id int primary key, v text)',
  })
  const { app } = following
  await app.query(`insert into t select g, 'v' from generate_series(1, 9) g`)
  await app.query(
    `begin; update t set v = 'w' where id = 1; savepoint s; delete from t where id = 2; rollback to s; insert into u values (1); truncate u; insert into u values (2); prepare transaction 'later'`,
  )
  await app.query(`begin; delete from t where id = 3; prepare transaction 'never'`)
  await app.query(`begin; delete from t where id = 4; prepare transaction 'at once'`)
  await app.query(`commit prepared 'at once'`)
  await app.query(`insert into t values (10, 'x')`)
  await following.catchUp()
  expect(await following.onTarget(`select string_agg(id::text, ' ' order by id) from public.t`)).toBe(
    '1 2 3 5 6 7 8 9 10',
  )
  expect(await following.onTarget(`select v from public.t where id = 1`)).toBe('v')
  // It begins before a stop of ours and ends after it.
  await app.query(`commit prepared 'later'`)
  await app.query(`rollback prepared 'never'`)
  await expectExact(following)
  expect(await following.onTarget(`select v from public.t where id = 1`)).toBe('w')
  expect(await following.onTarget(`select id from public.u`)).toBe('2')
})

test('what savepoints take back never arrives, at any depth, also in a large transaction', async () => {
  await using following = await startFollowing(pair, 'savepoints', {
    ddl: 'create table t (id int primary key, v text); create table f (id int, v text); alter table f replica identity full',
  })
  const { app } = following
  await app.query(`begin; insert into t values (1, 'a'); savepoint a; insert into t values (2, 'b'); savepoint b; update t set v = 'lost'; delete from t where id = 1; rollback to b; insert into t values (3, 'c');
    savepoint c; delete from t where id = 3; release c; rollback to a; insert into t values (2, 'kept'); commit`)
  await app.query(`do $$ begin for i in 10..200 loop begin insert into t values (i, 'x'); update t set v = 'y' where id = i; insert into f values (i % 7, 'v');
    if i % 3 = 0 then raise exception 'x'; end if; exception when raise_exception then null; end; end loop; end $$`)
  await app.query(
    `begin; insert into t select g, repeat('x', 100) from generate_series(1000, 14000) g; savepoint s; update t set v = null where id > 1000; delete from t where id % 2 = 0; truncate f; rollback to s; delete from t where id > 13990; commit`,
  )
  await app.query(`begin; truncate t; rollback`)
  await expectExact(following)
  expect(parseLsn((await following.onTarget('select applied_lsn from pgflex.progress'))!)).toBeLessThanOrEqual(
    await sourceEnd(following.context),
  )
})
