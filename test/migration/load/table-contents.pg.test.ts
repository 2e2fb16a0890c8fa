import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { copyFormat, serverFacts } from '../../../migration/load/copy-format.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planLoad } from '../../../migration/load/plan-load.ts'
import { listForeignTables, listTables } from '../../../migration/load/tables.ts'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { createLoadDatabase, expectEqual, expectNoLeaks, tableCopies, type LoadDatabase } from './load-database.ts'

/** Every built-in type that a table is likely to have, each at its extremes. */
const BUILTIN_TYPES: LoadDatabase = {
  ddl: `
    create table public.numbers (b bool, i2 int2, i4 int4, i8 int8, o oid, f4 float4, f8 float8, n numeric, n2 numeric(30, 10), m money);
    create table public.texts (t text, v varchar(20), c char(5), n name, ch "char", by bytea, u uuid, j json, jb jsonb);
    create table public.times (d date, t time, tz timetz, ts timestamp, tstz timestamptz, ts3 timestamp(3), i interval);
    create table public.nets (i inet, c cidr, m macaddr, m8 macaddr8, b bit(4), vb varbit, l pg_lsn, tv tsvector, x xid);
    create table public.shapes (p point, l line, s lseg, b box, pa path, po polygon, c circle);
    create table public.ranges (i4 int4range, i8 int8range, n numrange, d daterange, ts tsrange, tz tstzrange);
    create table public.arrays (a int[], b text[], c numeric[], d timestamptz[], e bytea[], f bool[][], g int4range[], h jsonb[]);
    create table public.newer (j jsonpath, x xid8, js jsonpath[], xs xid8[])`,
  data: `
    insert into public.numbers values
      (true, -32768, -2147483648, -9223372036854775808, 0, '-infinity', '-infinity', 'NaN', -12345678901234567890.0123456789, '-92233720368547758.08'),
      (false, 32767, 2147483647, 9223372036854775807, 4294967295, 'nan', 'nan', 1e-1000, 0, '92233720368547758.07'),
      (null, 0, 0, 0, 1, 1.17549435e-38, 2.2250738585072014e-308, ('1' || repeat('0', 10000) || '.' || repeat('3', 5000))::numeric, 0.0000000001, '0.01'),
      (null, null, null, null, null, 3.4028235e38, 1.7976931348623157e308, -0.000, null, null),
      (null, null, null, null, null, 0.1, 0.30000000000000004, 1e100, null, null);
    insert into public.texts values
      ('', '', '', '', '', '', '00000000-0000-0000-0000-000000000000', '{}', '{}'),
      (E'tab\\t newline\\n return\\r backslash \\\\ \\\\. \\\\N quote '' " \\b\\f\\v\\x01\\x7f', 'ä€😀𝄞', ' a ', 'n', 'x',
       '\\x00ff5c0a0d09', 'ffffffff-ffff-ffff-ffff-ffffffffffff', ' { "a" : 1.10, "a": [null, "\\u20ac"] } ', '{"a": 1.10, "b": [null, "\\u20ac\\\\", -0.0, 1e400]}'),
      ('\\.', 'NULL', null, null, null, null, null, 'null', 'null'),
      (repeat('wide € ', 500000), null, null, null, null, decode(repeat('00ff', 1000000), 'hex'), null, null, jsonb_build_object('k', repeat('x', 3000000)));
    insert into public.texts (t, by) select (select string_agg(md5((i * 1000 + k)::text), '') from generate_series(1, 400) k),
      decode((select string_agg(md5((i * 7000 + k)::text), '') from generate_series(1, 400) k), 'hex') from generate_series(1, 40) i;
    insert into public.times values
      ('-infinity', '00:00', '00:00-15:59:59', '-infinity', 'infinity', '2000-01-01 00:00:00.123', '-178000000 years'),
      ('4713-01-01 BC', '24:00', '23:59:59.999999+15:59:59', '294276-12-31 23:59:59.999999', '4714-11-24 00:00:00+00 BC', 'infinity', '1 year -1 day 00:00:00.000001'),
      ('5874897-12-31', '00:00:00.000001', '24:00:00+00', '0001-01-01 BC', '1970-01-01 00:00:00.000001+00', null, 'P1Y2M3DT4H5M6.7S');
    insert into public.nets values
      ('::/0', '::/0', '00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff:ff:ff', '0000', '', '0/0', '', '0'),
      ('192.168.1.5/24', '10.0.0.0/8', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00:00:00', '1111', repeat('10', 500)::varbit, 'FFFFFFFF/FFFFFFFF',
       'a:1A,2B ''it''''s'':3 c', '4294967295'),
      ('255.255.255.255', '2001:db8::/32', null, null, null, null, null, null, null);
    insert into public.shapes values
      ('(0,-0)', '{1,-1,0}', '[(1,2),(3,4)]', '((3,4),(1,2))', '((0,0),(1,1),(2,0))', '((0,0),(1,1),(2,0))', '<(1,2),3>'),
      ('(1e308,-1e-308)', '{0,1e-5,3.3}', '[(nan,inf),(-inf,0)]', '((inf,0),(0,-inf))', '[(0,0),(1,1)]', '((0,0))', '<(0,0),0>');
    insert into public.ranges values
      ('empty', '(,)', '[1.50,2)', '[-infinity,infinity]', '(,2000-01-01)', '["2000-01-01 00:00+00",infinity)'),
      ('[1,1]', '[-9223372036854775808,0)', '(nan,nan]', '[2000-01-01,)', 'empty', null);
    insert into public.arrays values
      ('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
      ('[-2:0]={1,null,3}', array['', null, 'NULL', 'a"b\\c,{}', E'x\\ny'], '{NaN,1e-10,null}', '{infinity,-infinity}', array['\\x00'::bytea, null], '{{t,f},{f,t}}', '{empty,"[1,5)"}', array['{"a":[1]}'::jsonb, null]),
      ('{{{1,2},{3,4}}}', null, null, null, null, null, null, null);
    insert into public.newer values
      ('strict $.a[*] ? (@.size() > 1.5 && @ like_regex "^ü\\"" flag "i")', '18446744073709551615', array['$'::jsonpath, null], '{0,1}'),
      ('lax $."x y".**{2 to last}.double()', '0', '{}', '{}'), (null, null, null, null)`,
}

/** What goes as text, or needs care by name or kind. */
const SPECIAL_TABLES: LoadDatabase = {
  ddl: `
    create schema "S.p ace";
    create type public.mood as enum ('sad', 'ok', 'hap,py"\\');
    create type public.pair as (a int, b text);
    create domain public.positive as int check (value > 0);
    create domain public.short as varchar(8) collate "C";
    create table public.typed (id int primary key, m public.mood, ms public.mood[], p public.pair, ps public.pair[], d public.positive, s public.short, x xml, r regclass, q tsquery);
    create table public.derived (id int generated always as identity, by_default bigint generated by default as identity (start 100), base int, twice int generated always as (base * 2) stored, tail text);
    create table public.only_derived (a int generated always as (42) stored);
    create table "S.p ace"."We""ird.'Täble" ("Select" int, "a""b" text, "x.y, z" text, "ünï" text, "%s\\" int);
    create table public.nothing ();
    create table public.empty (id int);
    create unlogged table public.fleeting (id int, t text);
    create table public.dropped (a int, b text, c int);
    alter table public.dropped drop column b;
    create table public.events (id int, day date, v text) partition by range (day);
    create table public.events_1 partition of public.events for values from ('2024-01-01') to ('2024-02-01');
    create table public.events_2 (v text, day date, id int);
    alter table public.events attach partition public.events_2 for values from ('2024-02-01') to ('2024-03-01');
    create table public.events_rest partition of public.events default partition by list (id);
    create table public.events_rest_1 partition of public.events_rest default;
    create table public.parent (id int, t text);
    create table public.child (extra int) inherits (public.parent);
    create table public.loner (id int primary key, c int check (c > 0) not null, t text default 'x');
    alter table public.loner replica identity full`,
  data: `
    insert into public.typed select i, 'hap,py"\\', array['sad', null]::public.mood[], row(i, 'a,"b\\')::public.pair, array[row(1, null)::public.pair, null], i, 'é€', '<?xml version="1.0"?><a>ü</a>', 'pg_class', '!a & (b:*A | ''x y'') <-> d' from generate_series(1, 500) i;
    insert into public.typed (id, q) values (0, '');
    insert into public.derived (base, tail) select i, 'tail ' || i from generate_series(1, 1000) i;
    delete from public.derived where id % 3 = 0;
    insert into public.only_derived default values;
    insert into public.only_derived default values;
    insert into "S.p ace"."We""ird.'Täble" values (1, 'a', 'b', 'ü', 2), (null, null, null, null, null);
    insert into public.nothing default values;
    insert into public.nothing default values;
    insert into public.nothing default values;
    insert into public.fleeting select i, 'f' || i from generate_series(1, 100) i;
    insert into public.dropped select i, -i from generate_series(1, 100) i;
    insert into public.events select i, date '2024-01-01' + i % 100, 'v' || i from generate_series(1, 2000) i;
    insert into public.parent select i, 'p' || i from generate_series(1, 100) i;
    insert into public.child select i, 'c' || i, -i from generate_series(1, 50) i;
    insert into public.loner values (1, 1, null)`,
}

const MULTIRANGES: LoadDatabase = {
  ddl: 'create table public.multiranges (i int4multirange, n nummultirange, t tstzmultirange[]); create table public.infinite (n numeric)',
  data: `insert into public.multiranges values ('{}', '{(,1.5),[2,2]}', array['{[2000-01-01 00:00+00,infinity)}'::tstzmultirange]), (null, null, null);
    insert into public.infinite values ('infinity'), ('-infinity')`,
}

describe.each([
  [13, 17],
  [15, 18],
])('from PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  /** Why tables could not be copied. */
  async function reasons(database: string): Promise<(string | null)[]> {
    return Object.values(await tableCopies(pair, database)).flatMap(({ message }) => message ?? [])
  }

  test('built-in types arrive with every value, in binary', async () => {
    await using migration = await createLoadDatabase(pair, 'builtin', BUILTIN_TYPES)
    const { context } = migration
    await planLoad(context)
    const result = await copyTables(context, { worker: 0 })
    expect(await reasons('builtin')).toEqual([])
    expect(result).toEqual({ copied: 8, errored: 0, remaining: 0 })
    await expectEqual(pair, 'builtin')
    await expectNoLeaks(pair)
    await using source = await context.source('test')
    await using target = await context.target('test')
    const everything = (): boolean => true
    const there = await listTables(target, everything)
    for (const table of await listTables(source, everything)) {
      const twin = there.find(({ name }) => name === table.name)
      expect(copyFormat(table, twin, await serverFacts(source), await serverFacts(target))).toBe('binary')
    }
  })

  test('enums, domains, generated and identity columns, hostile names, partitions and inheritance arrive', async () => {
    await using migration = await createLoadDatabase(pair, 'special', SPECIAL_TABLES)
    const { context } = migration
    const { tables } = await planLoad(context)
    expect(tables).toBe(14)
    const result = await copyTables(context, { worker: 0 })
    expect(await reasons('special')).toEqual([])
    expect(result).toEqual({ copied: 14, errored: 0, remaining: 0 })
    await expectEqual(pair, 'special')
    const copies = await tableCopies(pair, 'special')
    expect(Object.values(copies).every(({ snapshot_lsn }) => snapshot_lsn !== null)).toBe(true)
    expect(copies['public.empty']).toMatchObject({ state: 'completed', rows_done: '0' })
    expect(copies['public.nothing']).toMatchObject({ state: 'completed', rows_done: '3' })
    const status = await readDatabaseStatus(context.documents, context.key, 'special')
    expect(status.tables).toEqual({ queued: 0, loading: 0, completed: 14, errored: 0 })
    expect(status.progress.rowsDone).toBe(status.progress.rowsTotal)
    expect(status.progress.bytesDone).toBe(status.progress.bytesTotal)
    await expectNoLeaks(pair)
  })

  test('the catalog says what a table is', async () => {
    await using source = await pair.source.connect('special')
    const tables = new Map(
      (await listTables(source, (schema) => schema === 'public')).map((table) => [table.name, table]),
    )
    expect(tables.get('derived')).toMatchObject({ hasPrimaryKey: false, replicaIdentity: 'd', unlogged: false })
    expect(tables.get('derived')!.columns).toEqual([
      { name: 'id', type: 'integer', builtin: 'int4', generated: false, identity: true },
      { name: 'by_default', type: 'bigint', builtin: 'int8', generated: false, identity: true },
      { name: 'base', type: 'integer', builtin: 'int4', generated: false, identity: false },
      { name: 'twice', type: 'integer', builtin: 'int4', generated: true, identity: false },
      { name: 'tail', type: 'text', builtin: 'text', generated: false, identity: false },
    ])
    expect(tables.get('loner')).toMatchObject({ hasPrimaryKey: true, replicaIdentity: 'f' })
    expect(tables.get('fleeting')!.unlogged).toBe(true)
    expect(tables.get('events_rest_1')!.isPartition).toBe(true)
    expect(tables.get('nothing')!.columns).toEqual([])
    expect(tables.get('typed')!.columns.map(({ builtin }) => builtin)).toEqual([
      'int4',
      null,
      null,
      null,
      null,
      null,
      null,
      'xml',
      'regclass',
      'tsquery',
    ])
    expect([...tables.keys()]).not.toContain('events')
    expect(await listForeignTables(source, () => true)).toEqual([])
  })

  // PostgreSQL 13 has neither multiranges nor infinite numerics.
  test.runIf(sourceMajor >= 14)('multiranges and infinite numbers arrive', async () => {
    await using migration = await createLoadDatabase(pair, 'multi', MULTIRANGES)
    await planLoad(migration.context)
    expect(await copyTables(migration.context, { worker: 0 })).toMatchObject({ copied: 2, remaining: 0 })
    await expectEqual(pair, 'multi')
  })

  test('tables that the user left out are not planned', async () => {
    await using migration = await createLoadDatabase(
      pair,
      'filtered',
      {
        ddl: 'create table public.a (i int); create table public.b (i int); create schema s; create table s.a (i int)',
      },
      { pgflex: { includeTables: ['public.*', 's.a'], excludeTables: ['*.b'] } },
    )
    expect(await planLoad(migration.context)).toMatchObject({ tables: 2 })
    expect(Object.keys(await tableCopies(pair, 'filtered')).toSorted()).toEqual(['public.a', 's.a'])
  })

  test('foreign tables are named in a warning and not copied, partitions among them neither', async () => {
    await using migration = await createLoadDatabase(pair, 'foreign', {
      ddl: 'create table public.near (id int); create table public.parts (id int) partition by range (id)',
      data: 'insert into public.near values (1)',
    })
    const { context } = migration
    await using admin = await pair.source.connect('foreign')
    await admin.query(`create foreign data wrapper nowhere; create server far_away foreign data wrapper nowhere;
      create foreign table public.far (id int) server far_away;
      create foreign table public.parts_1 partition of public.parts for values from (0) to (10) server far_away`)
    expect(await planLoad(context)).toMatchObject({ tables: 1 })
    expect(await copyTables(context, { worker: 0 })).toEqual({ copied: 1, errored: 0, remaining: 0 })
    const { warnings } = await readDatabaseStatus(context.documents, context.key, 'foreign')
    expect(warnings).toEqual([
      expect.stringMatching(/^Foreign tables are moved without rows.*: public\.far, public\.parts_1\./),
    ])
  })
})
