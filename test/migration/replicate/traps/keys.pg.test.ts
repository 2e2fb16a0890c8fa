import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServerPair, type ServerPair } from '../../../support/servers.ts'
import { startFollowing } from '../following.ts'
import { expectExact } from './exact.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** Types with an order, and three different values of each. */
const KEYS: Record<string, [string, string, string]> = {
  bool: ['true', 'false', 'true'],
  '"char"': [`'a'`, `'b'`, `'\\377'`],
  name: [`'a'`, `'A"'`, `''`],
  int2: ['-32768', '0', '1'],
  float4: [`'NaN'`, '0.1', `'-Infinity'`],
  numeric: [`'NaN'`, '1.10', '1e100'],
  'numeric(10,2)': ['1.5', '2', '-3.14'],
  money: [`'1.50'`, `'-2'`, '3::money'],
  bytea: [`'\\x00ff'`, `'\\x'`, `'\\x5c'`],
  'varchar(3)': [`'abc'`, `''`, `' a '`],
  'char(3)': [`'abc'`, `''`, `'a'`],
  '"char"[]': [`'{a}'`, `'{}'`, `'{"\\"",NULL}'`],
  date: [`'infinity'`, `'2024-02-03'`, `'4713-01-01 BC'`],
  time: [`'24:00'`, `'00:00'`, `'12:34:56.789012'`],
  timetz: [`'00:00+15:59'`, `'00:00-15:59'`, `'12:00+00'`],
  timestamptz: [`'infinity'`, `'2024-02-03 04:05:06.123456+05:45'`, `'-infinity'`],
  interval: [`'1 mon'`, `'-1 day'`, `'00:00:00.000001'`],
  uuid: [`'ffffffff-ffff-ffff-ffff-ffffffffffff'`, `'00000000-0000-0000-0000-000000000000'`, 'gen_random_uuid()'],
  jsonb: [`'{"a": 1}'`, `'null'`, `'[1.0, "x"]'`],
  inet: [`'1.2.3.4'`, `'1.2.3.4/24'`, `'::1'`],
  cidr: [`'10.0.0.0/8'`, `'10.0.0.0/16'`, `'::/0'`],
  macaddr: [`'08:00:2b:01:02:03'`, `'00:00:00:00:00:00'`, `'ff:ff:ff:ff:ff:ff'`],
  macaddr8: [`'08:00:2b:01:02:03:04:05'`, `'00:00:00:00:00:00:00:00'`, `'ff:ff:ff:ff:ff:ff:ff:ff'`],
  'bit(3)': [`B'101'`, `B'000'`, `B'111'`],
  varbit: [`B''`, `B'1'`, `B'10'`],
  tsvector: [`'a:1A b'`, `''`, `'''x y'':2'`],
  tsquery: [`'a & !b'`, `'c <-> d'`, `'e:*'`],
  oid: ['4294967295', '0', '1'],
  xid8: [`'18446744073709551615'`, `'0'`, `'1'`],
  tid: [`'(0,1)'`, `'(4294967295,65535)'`, `'(1,1)'`],
  pg_lsn: [`'FFFFFFFF/FFFFFFFF'`, `'0/0'`, `'0/1'`],
  oidvector: [`'1 2'`, `''`, `'4294967295'`],
  int4range: [`'empty'`, `'[1,)'`, `'[1,5)'`],
  tstzmultirange: [`'{}'`, `'{[2024-01-01 00:00+00,)}'`, `'{(,)}'`],
  'int4[]': [`'{}'`, `'{1,NULL}'`, `'[0:1]={1,2}'`],
  'text[]': [`array['a"b', '\\', '']`, `array['NULL', null]`, `'{}'`],
  mood: [`'happy, "very"'`, `'sad'`, `'glad'`],
  'mood[]': [`array['sad', null]::mood[]`, `'{}'`, `'{glad}'`],
  pair: [`row(1, 'a "b", (c)')`, `row(null, '')`, `row(2, null)`],
  positive: ['1', '2.50', '3'],
  positives: [`'{1,2}'`, `'{3,4}'`, `'{5,6,7}'`],
  word: [`'a'`, `'b'`, `''`],
  floats: [`'[0.1,0.30000000000000004)'`, `'empty'`, `'(,)'`],
  citext: [`'a'`, `'B'`, `''`],
  hstore: [`'a=>1'`, `'"b c"=>NULL'`, `''`],
  ltree: [`'a.b'`, `'c'`, `''`],
}

const TYPES = `create extension citext; create extension hstore; create extension ltree;
  create type mood as enum ('sad', 'glad', 'happy, "very"'); create domain positive as numeric(10, 2) check (value > 0);
  create type pair as (n int, t text); create domain positives as int[] check (array_length(value, 1) > 1); create type floats as range (subtype = float8);
  create domain word as varchar(9) collate "C"`

test('rows are found by keys of every type that can be one', async () => {
  const types = Object.entries(KEYS)
  await using following = await startFollowing(pair, 'key_types', {
    ddl: `${TYPES}; ${types
      .map(
        (
          [type],
          n,
        ) => `create table k${n} (k ${type} primary key, v int); create table i${n} (v int, k ${type} not null); create unique index i${n}_k on i${n} (k desc); alter table i${n} replica identity using index i${n}_k;
        create table c${n} (a int, k ${type}, v int, primary key (k, a));
        create table n${n} (k ${type}, v int); alter table n${n} replica identity full`,
      )
      .join(';')}`,
  })
  const { app } = following
  for (const [n, [type, [one, two, three]]] of types.entries()) {
    const values = (...keys: string[]): string =>
      `insert into TABLE (k, v) values ${keys.map((k) => `((${k})::${type}, 0)`).join(', ')}`
    const of = (key: string): string => `k = (${key})::${type}`
    const story = `${values(one, two)}; update TABLE set v = 1 where ${of(one)}; delete from TABLE where ${of(two)};
      ${type === 'bool' ? '' : `update TABLE set k = (${three})::${type} where ${of(one)}; update TABLE set v = 2 where ${of(three)}; ${values(one)}`}`
    for (const table of [`k${n}`, `i${n}`, `n${n}`]) await app.query(story.replaceAll('TABLE', table))
    await app.query(
      `insert into c${n} (a, k, v) select a, (${one})::${type}, 0 from generate_series(1, 3) a; update c${n} set v = 1 where a = 1; update c${n} set k = (${two})::${type} where a = 2; delete from c${n} where a = 3; update c${n} set a = 7 where a = 2`,
    )
  }
  await expectExact(following)
  // And rows that the target has had for a while.
  for (const n of types.keys()) {
    for (const table of ['k', 'i', 'n'])
      await app.query(`update ${table}${n} set v = v + 10; delete from ${table}${n} where v = 12`)
    await app.query(`update c${n} set v = 5; delete from c${n} where a = 7`)
  }
  await expectExact(following)
  expect(await following.onTarget('select deletes > 200 from pgflex.progress')).toBe('t')
})

test('tables of as many columns as there can be are followed', async () => {
  const columns = (from: number, to: number): string[] =>
    Array.from({ length: to - from + 1 }, (_, n) => `c${from + n}`)
  await using following = await startFollowing(pair, 'wide', {
    ddl: `create table w (${columns(1, 1600)
      .map((name) => `${name} int`)
      .join(', ')}, primary key (c1, c2, c1600));
          create table k (${columns(1, 32)
            .map((name) => `${name} int`)
            .join(', ')}, v text, primary key (${columns(1, 32).join(', ')}));
          create table f (${columns(1, 1500)
            .map((name) => `${name} "char"`)
            .join(', ')}); alter table f replica identity full`,
  })
  const { app } = following
  await app.query(`insert into w (c1, c2, c1600, c800) select g, g, g, g from generate_series(1, 5) g; insert into k select ${columns(
    1,
    32,
  )
    .map(() => 'g')
    .join(', ')}, 'v' from generate_series(1, 5) g;
    insert into f (c1, c1500) select 'a', 'z' from generate_series(1, 3)`)
  await app.query(`update w set c3 = c1, c1599 = 7; update w set c1 = c1 + 10, c1600 = 0 where c1 > 3; delete from w where c1 = 2; update k set v = 'w'; update k set c32 = 77 where c1 = 1; delete from k where c1 = 2;
    update f set c2 = 'b' where ctid = '(0,1)'; delete from f where ctid = '(0,2)'`)
  await expectExact(following)
  expect(await following.onTarget('select count(*) from public.w')).toBe('4')
})
