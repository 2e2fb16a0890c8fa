import { afterAll, beforeAll, expect, test } from 'vitest'
import { compareChecksums } from '../../../migration/verify/compare-checksums.ts'
import { compareCounts } from '../../../migration/verify/compare-counts.ts'
import { listComparedTables } from '../../../migration/verify/compared-table.ts'
import { tableCutter } from '../../../migration/verify/table-parts.ts'
import {
  createSourceDatabase,
  createTargetDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
  type TestMigration,
} from '../../support/servers.ts'

let pair: ServerPair
let migration: TestMigration

const SCHEMA = `
  create schema s;
  create table s."Mixed ""Case" (id int primary key, t text);
  create table s.parts (id int, at date, t text) partition by range (at);
  create table s.parts_1 partition of s.parts for values from ('2024-01-01') to ('2025-01-01') partition by list (id);
  create table s.parts_1_a partition of s.parts_1 for values in (1, 2);
  create table s.parts_2 partition of s.parts default;
  create table s.parent (id int);
  create table s.child (extra int) inherits (s.parent);
  create unlogged table s.cache (id int);
  create table s.big as select i, repeat(md5(i::text), 10) as t from generate_series(1, 5000) i;
  create table s.empty ();
  create view s.v as select 1;
  insert into s."Mixed ""Case" select i, i::text from generate_series(1, 10) i;
  insert into s.parts values (1, '2024-05-05', 'a'), (2, '2024-05-05', 'b'), (3, '2020-01-01', 'c');
  insert into s.parent values (1), (2);
  insert into s.child values (3, 3);`

beforeAll(async () => {
  pair = await startServerPair(13, 17)
  await createSourceDatabase(pair, 'app', SCHEMA)
  await createTargetDatabase(pair, 'app')
  migration = await createTestMigration(pair, 'app')
  await using target = await migration.context.target('test')
  await target.query(`create schema pgflex; create table pgflex.lease (); ${SCHEMA}`)
})

afterAll(async () => {
  await migration?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
})

const source = () => migration.context.source('compare')
const target = () => migration.context.target('compare')

async function tables() {
  await using connection = await source()
  return await listComparedTables(connection)
}

/** Runs SQL on the target for the time of some work; it is undone by more SQL. */
async function withChange<T>(change: string, undo: string, work: () => Promise<T>): Promise<T> {
  await using connection = await target()
  await connection.query(change)
  try {
    return await work()
  } finally {
    await connection.query(undo)
  }
}

test('leaf partitions and inherited tables are listed once each, the control schema is not', async () => {
  const names = (await tables()).map(({ name }) => name)
  expect(names).toEqual(['Mixed "Case', 'big', 'cache', 'child', 'empty', 'parent', 'parts_1_a', 'parts_2'])
  await using connection = await target()
  expect((await listComparedTables(connection)).map(({ name }) => name)).toEqual(names)
  expect((await tables()).filter(({ unlogged }) => unlogged).map(({ name }) => name)).toEqual(['cache'])
})

test('equal databases are equal, by counts and by checksums, over one connection or several', async () => {
  const all = await tables()
  for (const compare of [compareCounts, compareChecksums]) {
    await using one = await source()
    await using other = await target()
    const report = await compare(one, other, all)
    expect(report).toMatchObject({ result: 'Equal', tables: 8, rows: 5016, differences: [] })
    expect(await compare(source, target, all, 3)).toEqual({ ...report, seconds: expect.any(Number) })
  }
})

test('a row less is a difference of both modes, with the numbers of rows', async () => {
  const insert = `insert into s.parts values (3, '2020-01-01', 'c')`
  await withChange('delete from s.parts where id = 3', insert, async () => {
    for (const compare of [compareCounts, compareChecksums]) {
      const report = await compare(source, target, await tables(), 2)
      expect(report.result).toBe('Different')
      expect(report.differences).toEqual([{ table: 's.parts_2', source: '1 rows', target: '0 rows' }])
    }
  })
})

test('a changed value is a difference of checksums only', async () => {
  const undo = `update s.big set t = repeat(md5(i::text), 10) where i = 4711`
  await withChange(`update s.big set t = t || ' ' where i = 4711`, undo, async () => {
    expect(await compareCounts(source, target, await tables())).toMatchObject({ result: 'Equal' })
    const report = await compareChecksums(source, target, await tables())
    expect(report.differences).toEqual([
      {
        table: 's.big',
        source: expect.stringMatching(/^5000 rows, hash /),
        target: expect.stringMatching(/^5000 rows/),
      },
    ])
    expect(report.differences[0]!.source).not.toBe(report.differences[0]!.target)
  })
})

test('a big table is compared in parts, by pages or by an integer key, and a row less or more in any of them is found', async () => {
  const keyed = `create table s.keyed (id bigint primary key, v text);
                 insert into s.keyed select i, repeat('x', 100) from generate_series(-3000, 3000) i`
  {
    await using admin = await pair.source.connect('app')
    await admin.query(`set role app; ${keyed}`)
    await withChange(keyed, 'drop table s.keyed', async () => {
      for (const open of [source, target]) {
        await using side = await open()
        const cut = await tableCutter(side, 65_536)
        const parts = await cut({ schema: 's', name: 'keyed' }, 900_000)
        expect(parts.length).toBe(14)
        let counted = 0
        for (const part of parts) {
          const { rows } = await side.query<{ rows: string }>(`select count(*) as rows from s.keyed where ${part}`)
          counted += Number(rows[0]!.rows)
        }
        expect(counted).toBe(6_001)
      }
      const named = [{ schema: 's', name: 'keyed' }]
      for (const compare of [compareCounts, compareChecksums]) {
        expect(await compare(source, target, named, 3, 65_536)).toMatchObject({ result: 'Equal', rows: 6_001 })
      }
      const whole = await compareChecksums(source, target, named)
      for (const id of [-3_000, 0, 3_000]) {
        await withChange(
          `update s.keyed set v = 'y' where id = ${id}`,
          `update s.keyed set v = repeat('x', 100)`,
          async () => {
            const report = await compareChecksums(source, target, named, 3, 65_536)
            expect(report).toMatchObject({ result: 'Different', rows: whole.rows })
            expect(await compareChecksums(source, target, named)).toMatchObject({ differences: report.differences })
          },
        )
      }
    })
    await admin.query('drop table s.keyed')
  }
})

test('a missing table and a missing column are differences; the order of columns is not', async () => {
  const change = `alter table s.child rename to child2; alter table s.big drop t; alter table s.big add t text;
                  alter table s."Mixed ""Case" rename t to u; update s.big set t = repeat(md5(i::text), 10)`
  const undo = `alter table s.child2 rename to child; alter table s."Mixed ""Case" rename u to t`
  await withChange(change, undo, async () => {
    const report = await compareChecksums(source, target, await tables())
    expect(report.differences).toEqual([
      { table: 's.Mixed "Case', source: 'column t', target: 'column u' },
      { table: 's.child', source: 'the table', target: 'no such table' },
    ])
  })
})

test('a table that may not be read is an error that names it', async () => {
  await using admin = await pair.source.connect('app')
  await admin.query('alter table s.empty owner to postgres')
  try {
    await expect(compareCounts(source, target, await tables(), 2)).rejects.toThrow(/permission denied for table empty/)
  } finally {
    await admin.query('alter table s.empty owner to app')
  }
})
