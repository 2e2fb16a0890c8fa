import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Connection } from '../../../migration/connect.ts'
import { listComparedColumns, tableKey } from '../../../migration/verify/compared-table.ts'
import { hashTable, type Digest, type TableHash } from '../../../migration/verify/table-hash.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
  for (const server of [pair.source, pair.target]) {
    await using admin = await server.connect()
    await admin.query('create database plain')
    await admin.query(`create database latin encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'`)
    await admin.query('create database hostile')
    for (const setting of HOSTILE_SETTINGS) await admin.query(`alter database hostile set ${setting}`)
  }
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** All that changes the text of a value. */
const HOSTILE_SETTINGS = [
  `datestyle = 'German, DMY'`,
  `intervalstyle = 'sql_standard'`,
  'extra_float_digits = -10',
  `bytea_output = 'escape'`,
  `timezone = 'Asia/Kathmandu'`,
  'quote_all_identifiers = on',
  `search_path = 'elsewhere'`,
  `xmlbinary = 'hex'`,
  'statement_timeout = 60000',
]

const EVERY_TYPE = `
  create type public.mood as enum ('sad', 'ok', 'very "happy"');
  create domain public.email as text check (value like '%@%');
  create type public.place as (street text, nr int, at timestamptz, f float8);
  create table public.every_type (
    i2 smallint, i4 int, i8 bigint, n numeric, n2 numeric(20, 5), f4 real, f8 double precision, m money,
    b boolean, t text, v varchar(30), c char(10), c1 "char", ba bytea, na name,
    d date, tm time, tz timetz, ts timestamp, tstz timestamptz, iv interval,
    u uuid, j json, jb jsonb, ip inet, ci cidr, mac macaddr, bits bit(5), vb varbit,
    pt point, ln line, bx box, pa path, po polygon, ci2 circle, ls lseg,
    tsv tsvector, tsq tsquery, r int4range, tr tstzrange, arr int[], farr float8[], tarr text[], tsarr timestamptz[],
    e public.mood, em public.email, comp public.place, comps public.place[], rc regclass, l pg_lsn, jp jsonpath,
    gen text generated always as (coalesce(t, '-') || i4::text) stored,
    "Quoted ""name"", with %L" text
  );
  insert into public.every_type values (
    1, 2, 3, 1234567890.123456789000, 0.1, 0.1, 0.1::float8 + 0.2, 1234.5,
    true, E'a\\\\b''c"d,\\n\\t(é)', 'x ', 'pad', 'z', '\\xdeadbeef00ff', 'name',
    '2024-02-29', '23:59:59.999999', '23:59:59+05:45', '2024-03-10 02:30:00.123456', '2024-03-31 02:30:00.000001+00',
    '1 year 2 months -3 days 04:05:06.789',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"b":1,  "a":[1.0,2]}', '{"b":1,  "a":[1.0,2]}', '10.1.2.3', '10.1.2.0/24',
    '08:00:2b:01:02:03', '10101', '101',
    '(1.1,2.2)', '{1,2,3}', '((1.1,2),(3,4))', '((1,2),(3,4.5))', '((0,0),(1,1),(1,0.1))', '<(1,2),0.3>', '[(0,0),(1,1)]',
    'a fat cat', 'fat & rat', '[1,5)', '["2024-01-01 00:00+00",)', '{1,null,3}', '{0.1,NaN,-0}', '{"a b",null,"NULL",""}',
    '{"2024-01-01 00:00+00"}',
    'very "happy"', 'a@b', row('High "St", 1', 5, '2024-06-01 12:00+00', 0.1), array[row(null, null, null, null)::public.place],
    'pg_catalog.pg_class', '16/B374D848', '$.a[*] ? (@ > 1)', default, 'q'
  );
  insert into public.every_type (i4, f8, f4, n, d, tstz, iv, t, ba) values
    (1, 'NaN', 'NaN', 'NaN', 'infinity', '-infinity', '0', '', ''),
    (2, '-0', '-0', 0.000, '0044-03-15 BC', '0044-03-15 00:00+00 BC', '-1 day +25:00', 'NULL', '\\x00'),
    (3, 'Infinity', '-Infinity', 1e-20, '9999-12-31', '2024-01-01+00', '178000000 years', '''', null),
    (4, 1e300, 3.4e38, 1e30, null, null, null, null, null);
  insert into public.every_type default values;`

async function create(connection: Connection, sql: string): Promise<void> {
  await connection.query(sql)
}

async function hashOf(connection: Connection, name: string, digest?: Digest): Promise<TableHash> {
  const table = { schema: 'public', name }
  const columns = (await listComparedColumns(connection)).get(tableKey(table)) ?? []
  return hashTable(connection, table, columns, digest)
}

test('every type hashes alike on 13 and 17, with settings that print it differently on one side', async () => {
  await using source = await pair.source.connect('hostile')
  await using target = await pair.target.connect('plain')
  await create(source, `set search_path = public; set datestyle = iso; set intervalstyle = postgres; ${EVERY_TYPE}`)
  await create(target, EVERY_TYPE)
  // A session of its own: with the settings of the database.
  await using hostile = await pair.source.connect('hostile')
  const { rows } = await hostile.query('select d::text as d, f8::text as f8 from public.every_type where i4 = 2')
  expect(rows[0]).toEqual({ d: '29.02.2024', f8: '0.3' })
  for (const digest of ['sha256', 'md5'] as const) {
    const [left, right] = [await hashOf(hostile, 'every_type', digest), await hashOf(target, 'every_type', digest)]
    expect(left).toEqual(right)
    expect(left.rows).toBe(6n)
  }
})

test('each column of every type takes part: a change of any value changes the hash', async () => {
  await using target = await pair.target.connect('plain')
  const columns = (await listComparedColumns(target)).get('public\0every_type')!
  const before = await hashOf(target, 'every_type')
  for (const { name } of columns.filter((column) => column.name !== 'gen')) {
    await target.query('begin')
    const { rowCount } = await target.query(
      `update public.every_type set "${name.replaceAll('"', '""')}" = null where i2 = 1`,
    )
    expect(rowCount).toBe(1)
    expect({ name, hash: await hashOf(target, 'every_type') }).not.toEqual({ name, hash: before })
    await target.query('rollback')
  }
})

test('xml and bytes above 127 of "char" hash alike', async () => {
  await using source = await pair.source.connect('plain')
  await using target = await pair.target.connect('plain')
  const hasXml = async (connection: Connection): Promise<boolean> =>
    connection.query(`select '<a/>'::xml`).then(
      () => true,
      () => false,
    )
  const xml = (await hasXml(source)) && (await hasXml(target))
  for (const connection of [source, target]) {
    await create(
      connection,
      'create table public.odd (c "char"); insert into public.odd values (200::int::"char"), (5::int::"char")'.replaceAll(
        '200',
        '(-56)',
      ),
    )
    if (xml) {
      await create(
        connection,
        `alter table public.odd add x xml default '<?xml version="1.0" encoding="UTF-8"?><a b="1">é</a>'`,
      )
    }
  }
  expect(await hashOf(source, 'odd')).toEqual(await hashOf(target, 'odd'))
})

test('an encoding that differs does not matter, a character that differs does', async () => {
  await using source = await pair.source.connect('latin')
  await using target = await pair.target.connect('plain')
  for (const connection of [source, target]) {
    await create(
      connection,
      `create table public.words (t text); insert into public.words values ('à la carte'), ('Ärger')`,
    )
  }
  const before = await hashOf(source, 'words')
  expect(await hashOf(target, 'words')).toEqual(before)
  await target.query(`update public.words set t = 'a la carte' where t like '% la %'`)
  expect(await hashOf(target, 'words')).not.toEqual(before)
})

test('the order of rows does not matter', async () => {
  await using source = await pair.source.connect('plain')
  await using target = await pair.target.connect('plain')
  await create(source, 'create table public.ordered as select i, i % 7 as n from generate_series(1, 1000) i')
  await create(target, 'create table public.ordered as select i, i % 7 as n from generate_series(1000, 1, -1) i')
  expect(await hashOf(source, 'ordered')).toEqual(await hashOf(target, 'ordered'))
})

const PAIRS: [string, string, string][] = [
  ['a changed value', `('a', 'b')`, `('a', 'c')`],
  ['NULL and an empty text', `(null, 'b')`, `('', 'b')`],
  ['NULL and the word NULL', `(null, 'b')`, `('NULL', 'b')`],
  ['two columns with each other’s value', `('a', 'b')`, `('b', 'a')`],
  ['text that moves over the border of columns', `('ab', 'c')`, `('a', 'bc')`],
  ['text with separators and quotes', `('a'',''b', '')`, `('a', 'b'',''')`],
  ['a row that is there twice and one that is there once', `('a', 'b'), ('a', 'b')`, `('a', 'b')`],
  ['which row is there twice', `('a', 'b'), ('a', 'b'), ('c', 'd')`, `('a', 'b'), ('c', 'd'), ('c', 'd')`],
  ['two rows that exchange a value', `('a', '1'), ('b', '2')`, `('a', '2'), ('b', '1')`],
  ['trailing blanks', `('a ', 'b')`, `('a', 'b')`],
  ['no row and a row of NULLs', `(null, null)`, ``],
]

test.each(PAIRS)('%s give different hashes', async (_, left, right) => {
  await using target = await pair.target.connect('plain')
  const hash = async (values: string): Promise<TableHash> => {
    await target.query('begin')
    await target.query('create table public.pairs (a text, b text)')
    if (values !== '') await target.query(`insert into public.pairs values ${values}`)
    const result = await hashOf(target, 'pairs')
    await target.query('rollback')
    return result
  }
  expect(await hash(left)).not.toEqual(await hash(right))
  expect(await hash(left)).toEqual(await hash(left))
})

test('tables of no column and of 300 columns are hashed', async () => {
  await using target = await pair.target.connect('plain')
  const wide = Array.from({ length: 300 }, (_, n) => `c${n} int default ${n}`).join(', ')
  await create(target, `create table public.wide (${wide}); insert into public.wide default values`)
  await create(target, 'create table public.narrow (); insert into public.narrow default values')
  const before = await hashOf(target, 'wide')
  await target.query('update public.wide set c299 = 0')
  expect(await hashOf(target, 'wide')).not.toEqual(before)
  expect((await hashOf(target, 'narrow')).rows).toBe(1n)
})
