import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planLoad } from '../../../migration/load/plan-load.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { createLoadDatabase, expectEqual, expectNoLeaks, tableCopies, type LoadDatabase } from './load-database.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** Small tables of several kinds: some travel as text, some have no rows or no columns. */
function smallTables(count: number): LoadDatabase {
  const kinds = [
    '(id int, body text)',
    '(x xml, id int)',
    '(id int, twice int generated always as (id * 2) stored)',
    '()',
  ]
  const name = (i: number): string => `public."Table ${i}"`
  const numbers = Array.from({ length: count }, (_, i) => i)
  return {
    ddl: numbers.map((i) => `create table ${name(i)} ${kinds[i % 4]}`).join(';'),
    data: numbers
      .map((i) =>
        i % 4 === 3
          ? `insert into ${name(i)} default values`
          : `insert into ${name(i)} (id) select generate_series(1, ${i % 7})`,
      )
      .join(';'),
  }
}

/** Transactions that copies have committed: those that wrote the marks of tables. */
async function transactions(database: string): Promise<number> {
  await using target = await pair.target.connect(database)
  const { rows } = await target.query<{ count: string }>('select count(distinct xmin::text) from pgflex.table_copy')
  return Number(rows[0]!.count)
}

test('small tables are copied many at a time, in one transaction each time', async () => {
  await using migration = await createLoadDatabase(pair, 'small', smallTables(60))
  await planLoad(migration.context)
  expect(await copyTables(migration.context, { worker: 0 })).toEqual({ copied: 60, errored: 0, remaining: 0 })
  expect(await transactions('small')).toBeLessThan(10)
  const copies = await tableCopies(pair, 'small')
  for (const [name, { state, rows_done, snapshot_lsn }] of Object.entries(copies)) {
    const i = Number(name.split(' ')[1])
    expect({ name, state, rows_done }).toEqual({ name, state: 'completed', rows_done: String(i % 4 === 3 ? 1 : i % 7) })
    expect(snapshot_lsn).not.toBeNull()
  }
  await expectEqual(pair, 'small')
  await expectNoLeaks(pair)
})

test('one of many small tables that cannot be copied is found, and the others arrive', async () => {
  await using migration = await createLoadDatabase(pair, 'broken', smallTables(40))
  await planLoad(migration.context)
  {
    await using target = await pair.target.connect('broken')
    // Rows that a copy before has left, and a table that takes none.
    await target.query(`insert into public."Table 4" values (-1, 'left')`)
    await target.query('alter table public."Table 20" add check (id < 0)')
  }
  expect(await copyTables(migration.context, { worker: 0 })).toEqual({ copied: 39, errored: 1, remaining: 0 })
  const copies = await tableCopies(pair, 'broken')
  expect(Object.entries(copies).filter(([, { state }]) => state !== 'completed')).toEqual([
    [
      'public.Table 20',
      expect.objectContaining({ state: 'errored', message: expect.stringMatching(/violates check constraint/) }),
    ],
  ])
  await using target = await pair.target.connect('broken')
  expect((await target.query('select id from public."Table 4" order by id')).rows).toEqual(
    Array.from({ length: 4 }, (_, i) => ({ id: i + 1 })),
  )
  await expectNoLeaks(pair)
})

test('a group that ran twice changes nothing the second time', async () => {
  await using migration = await createLoadDatabase(pair, 'twice', smallTables(30))
  const { context } = migration
  await planLoad(context)
  await copyTables(context, { worker: 0 })
  await using target = await context.target('test')
  // As if the answers to the last commits had been lost: the plan of the activity is older than they are.
  await target.query(`update pgflex.table_copy set state = 'queued' where table_name <> 'Table 5'`)
  const before = (await tableCopies(pair, 'twice'))['public.Table 5']
  expect(await copyTables(context, { worker: 0 })).toMatchObject({ copied: 29, remaining: 0 })
  expect((await tableCopies(pair, 'twice'))['public.Table 5']).toEqual(before)
  await expectEqual(pair, 'twice')
})

test('a large table of an older server is copied in ranges of its integer key', async () => {
  await using migration = await createLoadDatabase(pair, 'keys', {
    ddl: 'create table public.large (body text, "The id" int8 primary key)',
    data: `insert into public.large select md5(i::text), i * i - 700 from generate_series(1, 20000) i; analyze`,
  })
  const { context } = migration
  await planLoad(context)
  await using target = await pair.target.connect('keys')
  await target.query('update pgflex.table_copy set ranges = 6')
  expect(await copyTables(context, { worker: 0 })).toEqual({ copied: 1, errored: 0, remaining: 0 })
  const { rows } = await target.query(
    `select method, count(*), min(rows_done) > 2500 as even from pgflex.table_range group by method`,
  )
  expect(rows).toEqual([{ method: 'key', count: '6', even: true }])
  await expectEqual(pair, 'keys')
  await expectNoLeaks(pair)
})
