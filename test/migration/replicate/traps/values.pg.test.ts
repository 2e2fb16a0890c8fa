import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServerPair, type ServerPair } from '../../../support/servers.ts'
import { startFollowing } from '../following.ts'
import { expectExact, expectSame } from './exact.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

test('trap 25: types and columns have other numbers on the target', async () => {
  const types = `create type mood as enum ('sad', 'happy'); create type pair as (m mood, n int);
    create domain code as text check (value <> ''); create type moods as range (subtype = mood)`
  await using following = await startFollowing(pair, 'trap_25', {
    ddl: `${types}; create table t (id int primary key, m mood, p pair, c code, ms mood[], r moods, ps pair[]);
          create table f (m mood, p pair, c code, ms mood[], r moods); alter table f replica identity full`,
    targetDdl: `drop table t, f; drop type moods; drop type pair; drop domain code; drop type mood;
      create type unrelated as (n int); create type other as enum ('sad'); ${types};
      alter type mood add value 'between' before 'happy';
      create table f (dropped int, r moods, ms mood[], c code, p pair, m mood); alter table f drop column dropped;
      create table t (ps pair[], r moods, ms mood[], c code, p pair, m mood, id int primary key)`,
  })
  const { app } = following
  const oid = `select 'public.mood'::regtype::oid::int8`
  expect(await following.onTarget(oid)).not.toBe(Object.values((await app.query(oid)).rows[0])[0])
  await app.query(`insert into t values (1, 'sad', '(happy,1)', 'x', '{sad,happy}', '[sad,happy]', '{"(sad,1)",NULL}'); insert into t (id, m) values (2, null), (3, 'sad');
    insert into f values ('sad', '(happy,1)', 'x', '{sad,happy}', '[sad,happy]'), ('sad', '(happy,1)', 'x', '{sad,happy}', '[sad,happy]'); insert into f values (null)`)
  await app.query(`update t set m = 'happy', ps[1].n = 7 where id = 1; update t set id = 4 where id = 3; delete from t where id = 2;
    update f set m = 'happy' where ctid = (select min(ctid) from f); delete from f where m is null`)
  await following.catchUp()
  await expectSame(following, 'select id, m, p, c, ms, r, ps from public.t order by id')
  expect(await expectSame(following, 'select m, p, c, ms, r from public.f order by 1')).toHaveLength(2)
  expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
})

test('trap 26: settings of the server, the database and the role do not get into the values, nor into the keys', async () => {
  const columns =
    'i interval, d date, ts timestamptz, tz timetz, f8 float8, f4 float4, b bytea, m money, r tstzrange, a float8[], c regclass, y regtype'
  await using following = await startFollowing(pair, 'trap_26', {
    ddl: `create table k (${columns}, v text, primary key (i, d, ts, tz, f8, f4, b, m));
          create table f (${columns}, v text); alter table f replica identity full`,
  })
  const { app } = following
  await using admin = await pair.source.connect('trap_26')
  // Money is written with the currency and the separators of a locale, where the system has one.
  let monetary = 'C'
  for (const locale of ['de_DE.utf8', 'en_IN.utf8', 'en_US.utf8']) {
    if (await admin.query(`select set_config('lc_monetary', '${locale}', false)`).catch(() => undefined))
      monetary = locale
  }
  const hostile = {
    DateStyle: 'SQL, DMY',
    IntervalStyle: 'sql_standard',
    extra_float_digits: '0',
    bytea_output: 'escape',
    timezone: 'America/St_Johns',
    lc_monetary: monetary,
    quote_all_identifiers: 'on',
  }
  for (const [name, value] of Object.entries(hostile)) {
    await admin.query(`alter system set ${name} = '${value}'`)
    for (const owner of ['database trap_26', 'role migrator', 'role migrator in database trap_26']) {
      await admin.query(`alter ${owner} set ${name} = ${name === 'DateStyle' ? value : `'${value}'`}`)
    }
  }
  await admin.query('select pg_reload_conf()')
  try {
    const rows = `select '-1 year -2 mons +3 days -04:05:06.7'::interval + g * '1 mon'::interval, date '2024-02-03' + g, '2024-02-03 04:05:06.123456+05:45',
      '04:05:06.1+12:34', 0.1::float8 + 0.2 + g, 0.1::float4 + g, '\\x00ff5c27'::bytea || g::text::bytea, '-1234567.89'::money + g::money,
      '["2024-02-03 04:05:06+05:45",)', array[0.1::float8 + 0.2], 'pg_class'::regclass, 'pg_type'::regtype from generate_series(1, 4) g`
    await app.query(`insert into k ${rows}; insert into f ${rows}; insert into f ${rows}`)
    await expectExact(following)
    await app.query(`update k set v = 'w' where extract(day from d) = 4; update k set i = i + '1 mon', f8 = f8 * 3 where extract(day from d) = 5;
      delete from k where extract(day from d) = 6; update f set v = 'w' where ctid in (select min(ctid) from f group by d);
      delete from f where extract(day from d) = 6`)
    await expectExact(following)
  } finally {
    for (const name of Object.keys(hostile)) {
      await admin.query(`alter system reset ${name}`)
      await admin.query(`alter role migrator reset ${name}`)
    }
    await admin.query('select pg_reload_conf()')
  }
})

test('trap 29: infinite numbers, the ends of the calendar and empty or endless multiranges arrive', async () => {
  const columns =
    'n numeric, nn numeric(4, -2), d date, ts timestamp, tz timestamptz, t time, im int4multirange, dm datemultirange, nm nummultirange'
  await using following = await startFollowing(pair, 'trap_29', {
    ddl: `create table t (id int primary key, ${columns}); create table f (${columns}); alter table f replica identity full;
          create table k (n numeric, f float8, d date, v int, primary key (n, f, d))`,
  })
  const { app } = following
  const rows = [
    `'Infinity', 123456, 'infinity', 'infinity', '294276-12-31 23:59:59.999999+00', '24:00', '{}', '{[,2024-01-01),[2024-02-01,infinity)}', '{[1.0,2.00],(3,)}'`,
    `'-Infinity', -50, '4713-01-01 BC', '4713-01-01 00:00:00 BC', '4713-01-01 00:00:00+00 BC', '00:00', '{(,)}', '{}', '{}'`,
    `'NaN', null, '-infinity', '-infinity', '-infinity', '23:59:59.999999', '{[1,2],[5,6]}', null, '{(,)}'`,
  ]
  await app.query(`${rows.map((row, i) => `insert into t values (${i}, ${row}); insert into f values (${row}), (${row})`).join(';')};
    insert into k values ('Infinity', 'Infinity', 'infinity', 1), ('-Infinity', '-Infinity', '-infinity', 2), ('NaN', 'NaN', '4713-01-01 BC', 3), (1e1000, 1e308, '5874897-12-31', 4)`)
  await app.query(`update t set id = id + 10, nn = 7; update k set v = v * 10; update f set nn = 900 where ctid in (select min(ctid) from f group by n);
    update k set n = 0 where v = 30; delete from k where v = 10; delete from f where n = 'NaN' and nn = 900`)
  await expectExact(following)
})

test('trap 30: object, transaction and command ids over 2^31 and integers over 2^53 arrive, also as keys', async () => {
  const columns = 'o oid, x xid, x8 xid8, c cid, n int8, t tid, l pg_lsn, s pg_snapshot'
  const values = `4294967295, '4294967294', '18446744073709551615', '4294967293', 9007199254740993, '(4294967295,65535)', 'FFFFFFFF/FFFFFFFE', '10:20:10,14'`
  await using following = await startFollowing(pair, 'trap_30', {
    ddl: `create table k (${columns}, primary key (o, x8, n, l)); create table f (${columns}); alter table f replica identity full`,
  })
  const { app } = following
  await app.query(`insert into k values (${values}), (2147483648, '1', '1', '1', -9007199254740993, '(0,1)', '0/1', '1:1:');
    insert into f values (${values}), (${values}); insert into f values (null)`)
  await app.query(`update k set c = '4294967292' where o = 4294967295; update k set n = n - 1; delete from k where o = 2147483648;
    update f set c = '4294967291' where ctid = (select min(ctid) from f); delete from f where o is null`)
  await expectExact(following)
})

test('trap 31: values inside values inside values arrive', async () => {
  await using following = await startFollowing(pair, 'trap_31', {
    ddl: `create type inner_ as (a text, b text[]); create type outer_ as (i inner_, many inner_[], r int4range, m int4multirange);
          create domain checked as outer_ check ((value).r is null or not isempty((value).r)); create domain words as text[]; create domain listed as words;
          create table t (id int primary key, o outer_, os outer_[], c checked, cs checked[], l listed, ls listed[], ms int8multirange[], rs tstzrange[]);
          create table f (o outer_, os outer_[], cs checked[], l listed, ms int8multirange[]); alter table f replica identity full`,
  })
  const { app } = following
  const nasty = `row(row(E'"\\\\(,)''{}\\n', array['', 'NULL', null, E'"\\\\", (x)', '{}']), array[row('', '{}')::inner_, null, row(null, null)::inner_], '[1,5)', '{[1,2],[5,6]}')::outer_`
  await app.query(`insert into t values (1, ${nasty}, array[${nasty}, null, ${nasty}], ${nasty}, array[${nasty}::checked], array['a"b', null, '\\'], array[array['x"']::listed]::listed[], array['{}', '{[1,9007199254740993]}']::int8multirange[], array['empty', '["2024-01-01 00:00:00+05:45",)']::tstzrange[]); insert into t values (2);
    insert into f select o, os, cs, l, ms from t where id = 1; insert into f select o, os, cs, l, ms from t where id = 1; insert into f values (null)`)
  await app.query(`update t set os[4] = os[1], l = l || l, o.r = 'empty' where id = 1; update t set o = row(null, '{}', null, null) where id = 2;
    update f set l = '{}' where ctid = (select min(ctid) from f); delete from f where ctid = (select max(ctid) from f where l <> '{}')`)
  await expectExact(following)
})

test('trap 33: json keeps spaces, the order and the repetition of its keys, and all digits', async () => {
  await using following = await startFollowing(pair, 'trap_33', {
    ddl: `create table t (id int primary key, j json, js json[], b jsonb, n int);
          create table f (j json, b jsonb, n int); alter table f replica identity full`,
  })
  const { app } = following
  const j = `E'{ "b" : 1,  "a":2, "a" : 12345678901234567890.12345678901234567890,\\n"\\\\u00e9":"\\\\ud834\\\\udd1e", "e":1E+400, "z":-0.0 }'`
  await app.query(`insert into t values (1, ${j}, array[${j}]::json[], ${j}::jsonb, 0), (2, ' null ', null, ' null ', 0), (3, null, '{}', null, 0);
    insert into f select j, b, n from t; insert into f select j, b, n from t`)
  await app.query(`update t set n = 1, b = b || '{"d":1e-400}' where id = 1; update f set n = 1 where ctid in (select min(ctid) from f group by j::text);
    delete from f where n = 0 and b = 'null'`)
  await expectExact(following)
})
