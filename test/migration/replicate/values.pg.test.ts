import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { id } from '../../../migration/sql.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing } from './following.ts'

/** Extremes of every built-in type, as SQL expressions. */
const VALUES: Record<string, string[]> = {
  bool: [`true`, `false`],
  '"char"': [`'a'`, `''`],
  name: [`'${'n'.repeat(63)}'`],
  int2: ['-32768', '32767'],
  int4: ['-2147483648', '2147483647'],
  int8: ['-9223372036854775808', '9223372036854775807', '9007199254740993'],
  oid: ['0', '4294967295'],
  float4: [`'NaN'`, `'Infinity'`, `'-Infinity'`, `'-0'`, `1e-45`, `3.4028235e38`, `0.1`],
  float8: [
    `'NaN'`,
    `'Infinity'`,
    `'-Infinity'`,
    `'-0'`,
    `5e-324`,
    `1.7976931348623157e308`,
    `0.1::float8 + 0.2::float8`,
  ],
  numeric: [
    `'NaN'`,
    `1.0`,
    `1.00`,
    `-0.000`,
    `('1' || repeat('0', 1000))::numeric`,
    `'1e-1000'::numeric`,
    `12345678901234567890.12345678901234567890`,
  ],
  'numeric(10,2)': ['99999999.99', '-0.01'],
  money: [`'92233720368547758.07'`, `'-92233720368547758.08'`],
  text: [`''`, `E'\\t\\n\\r\\\\'`, `'NULL'`, `'"{},'`, `'𝄞 é ü'`, `repeat('x', 70000)`, `E'\\x01'`],
  'varchar(5)': [`'abcde'`, `'  a  '`],
  'char(5)': [`'ab'`, `''`],
  bytea: [`'\\x'`, `'\\x00ff5c27'`, `decode(repeat('00ff', 40000), 'hex')`],
  date: [`'infinity'`, `'-infinity'`, `'4713-01-01 BC'`, `'5874897-12-31'`, `'2024-02-03'`],
  time: [`'00:00'`, `'24:00:00'`, `'23:59:59.999999'`],
  timetz: [`'00:00:00+15:59:59'`, `'24:00:00-15:59:59'`],
  timestamp: [
    `'infinity'`,
    `'-infinity'`,
    `'4713-01-01 00:00:00 BC'`,
    `'294276-12-31 23:59:59.999999'`,
    `'2024-02-03 04:05:06.123456'`,
  ],
  timestamptz: [
    `'infinity'`,
    `'2024-02-03 04:05:06.123456+05:45'`,
    `'0044-03-15 12:00:00 BC'`,
    `'1883-11-18 12:03:58 America/New_York'`,
  ],
  interval: [
    `'0'`,
    `'-178000000 years'`,
    `'1 mon -1 day +00:00:00.000001'`,
    `'178000000 years 11 mons 30 days 23:59:59.999999'`,
  ],
  uuid: [`'ffffffff-ffff-ffff-ffff-ffffffffffff'`],
  json: [`'{"a": 1,  "a":2, "n": 12345678901234567890.10}'`, `'null'`, `'"\\u0041"'`],
  jsonb: [`'{"b":[1,null,"x"],"a":1e-7}'`, `'null'`],
  jsonpath: [`'$.a[*] ? (@ > 1)'`],
  xml: [`'<a b="c">d</a>'`, `'just text'`],
  point: [`'(1e-300,-0)'`, `'(NaN,Infinity)'`],
  line: [`'{1,2,3}'`],
  lseg: [`'[(0,0),(1,1)]'`],
  box: [`'(2,2),(0,0)'`],
  path: [`'((0,0),(1,1))'`, `'[(0,0),(1,1)]'`],
  polygon: [`'((0,0),(1,1),(1,0))'`],
  circle: [`'<(0.1,0.2),0.3>'`],
  inet: [`'1.2.3.4'`, `'1.2.3.4/24'`, `'::1'`],
  cidr: [`'10.0.0.0/8'`],
  macaddr: [`'08:00:2b:01:02:03'`],
  macaddr8: [`'08:00:2b:01:02:03:04:05'`],
  bit: [`B'1'`],
  'bit(3)': [`B'101'`],
  varbit: [`B''`, `B'1010101'`],
  tsvector: [`'''a b'':1A,2 c:3'`],
  tsquery: [`'a & !b <-> c:*'`],
  int4range: [`'empty'`, `'[1,)'`, `'(,)'`],
  numrange: [`'[1.0,2.00)'`],
  tsrange: [`'["2024-01-01 00:00:00",infinity)'`],
  tstzrange: [`'["2024-01-01 00:00:00+02",)'`],
  daterange: [`'[-infinity,2024-01-01)'`],
  pg_lsn: [`'FFFFFFFF/FFFFFFFF'`],
  txid_snapshot: [`'10:20:10,14,15'`],
  regclass: [`'pg_class'`],
  regtype: [`'int4'`],
  tid: [`'(1,2)'`],
  'int4[]': [`'{}'`, `'{1,NULL,-3}'`, `'[0:1][-1:0]={{1,2},{3,4}}'`],
  'text[]': [`array['', 'NULL', 'a"b', 'c\\d', 'e,f', '{g}', null]`],
  'timestamptz[]': [`array['2024-02-03 04:05:06+01'::timestamptz, 'infinity']`],
  'numeric(10,2)[]': [`'{1.5,NULL}'`],
  mood: [`'happy, "very"'`, `'sad'`],
  'mood[]': [`array['sad', null]::mood[]`],
  positive: ['1', '2.50'],
  pair: [`row(1, 'a "b", (c)')`, `row(null, '')`],
  'pair[]': [`array[row(1, 'a,b')::pair, row(null, null)::pair]`],
  positives: [`'{1,2}'`],
  floats: [`'[0.1,0.30000000000000004)'`],
}

const TYPES = `
  create type mood as enum ('sad', 'happy, "very"');
  create domain positive as numeric(10, 2) check (value > 0);
  create type pair as (n int, t text);
  create domain positives as int[] check (array_length(value, 1) > 1);
  create type floats as range (subtype = float8);
  -- A user's own cast from text must not take the place of the input function.
  create function mood_of(text) returns mood language sql immutable as $$ select 'sad'::mood $$;
  create cast (text as mood) with function mood_of(text)`

/** Settings of the database and of the role that leak into the text of values, unless they are forced. */
const HOSTILE = {
  DateStyle: 'SQL, DMY',
  IntervalStyle: 'sql_standard',
  extra_float_digits: '-10',
  bytea_output: 'escape',
  timezone: 'Asia/Kathmandu',
  xmlbinary: 'hex',
  xmloption: 'document',
  search_path: 'nowhere',
  array_nulls: 'off',
  default_transaction_read_only: 'on',
  standard_conforming_strings: 'off',
  row_security: 'on',
}

describe.each([
  [13, 17],
  [15, 18],
])('PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test('values of every type are carried exactly, whatever the settings of both databases', async () => {
    const types = Object.keys(VALUES)
    const columns = types.map((type, i) => `c${i} ${type}`).join(', ')
    await using following = await startFollowing(pair, 'exact', {
      ddl: `${TYPES}; create table keyed (id int primary key, ${columns}); create table alike (${columns}); alter table alike replica identity full`,
    })
    const { app } = following
    {
      await using source = await pair.source.connect('exact')
      await using target = await pair.target.connect('exact')
      for (const [name, value] of Object.entries(HOSTILE)) {
        for (const side of [source, target])
          await side.query(`alter database exact set ${id(name)} = ${name === 'DateStyle' ? value : `'${value}'`}`)
        await source.query(
          `alter role migrator in database exact set ${id(name)} = ${name === 'DateStyle' ? value : `'${value}'`}`,
        )
      }
    }
    const longest = Math.max(...Object.values(VALUES).map((values) => values.length))
    for (let n = 0; n < longest; n++) {
      const row = types.map((type) => `(${VALUES[type]![n] ?? 'null'})::${type}`).join(', ')
      await app.query(
        `insert into keyed values (${n}, ${row}); insert into alike select ${row}; insert into alike select ${row}`,
      )
    }
    await following.expectEqual()
    // All of it once more through updates: by key, and by looking alike.
    await app.query(`update keyed set id = id + 100 where id % 2 = 0`)
    const moved = types.map((_, i) => `c${i} = other.c${i}`).join(', ')
    await app.query(
      `update keyed set ${moved} from (select id + 1 as next, * from keyed) other where next = keyed.id or next = keyed.id - 100`,
    )
    await app.query(
      `update alike set c${types.indexOf('int2')} = 7 where ctid in (select min(ctid) from alike group by c${types.indexOf('int8')}, c${types.indexOf('bytea')})`,
    )
    await following.expectEqual()
    await app.query(`delete from alike where ctid in (select max(ctid) from alike group by c${types.indexOf('int2')})`)
    await following.expectEqual()
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })
})
