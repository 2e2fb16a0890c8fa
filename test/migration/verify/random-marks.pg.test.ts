import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from '../replicate/following.ts'
import { runWorkload, WORKLOAD_DDL } from '../replicate/workload.ts'
import { comparedInBackground, cutoverComparison, onTarget } from './background.ts'

const SEED = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)

let pair: ServerPair

beforeAll(async () => {
  process.stderr.write(`marks seed ${SEED} (PGFLEX_TEST_SEED)\n`)
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** Some of the rows that the stream writes are spoiled on their way: few enough that all are shown. */
const SPOILED = ['account note', 'coded v', 'full_keyed v', 'by_index v', 'measured_1 v', 'measured_2 v']
  .map((each) => each.split(' ') as [string, string])
  .map(
    ([table, column]) => `
      create function spoil_${table}() returns trigger language plpgsql as $$
        begin
          if hashtext(new::text) % 16 = 0 then new.${column} := 'spoiled'; end if;
          return new;
        end $$;
      create trigger spoil before insert or update on ${table} for each row execute function spoil_${table}();
      alter table ${table} enable always trigger spoil`,
  )
  .join(';')

interface Found {
  atMarks: { tables: number; rows: number }
  /** Table, key and kind of each row. */
  rows: string[]
}

async function find(following: Following): Promise<Found> {
  const { atMarks, differences } = await cutoverComparison(following)
  const rows = differences.flatMap(({ table, rows: some }) =>
    some!.map(({ key, found }) =>
      JSON.stringify([table, found, Object.keys(key).toSorted(), Object.values(key).toSorted()]),
    ),
  )
  expect(differences.every(({ rows: some }) => some!.length < 20)).toBe(true)
  return { atMarks: atMarks!, rows: rows.toSorted() }
}

/** What a comparison of all rows finds. */
async function findAll(following: Following): Promise<string[]> {
  const { record } = following.context
  const properties = { ...record.properties, pgflex: { ...record.properties.pgflex, compareAll: true } }
  const { atMarks, rows } = await find({
    ...following,
    context: { ...following.context, record: { ...record, properties } },
  })
  expect(atMarks.tables).toBe(0)
  return rows
}

async function followed(database: string): Promise<Following> {
  const following = await startFollowing(pair, database, { ddl: WORKLOAD_DDL, pgflex: { verify: 'Checksums' } })
  await runWorkload(pair, database, { seed: SEED, clients: 3, transactions: 60 })
  return following
}

/** Compares in the background while others write. */
async function comparedUnderLoad(following: Following, database: string): Promise<void> {
  const workload = runWorkload(pair, database, { seed: SEED + 1, clients: 3, transactions: 150 })
  workload.catch(() => {})
  await comparedInBackground(following)
  await workload
}

test(`what the stream spoils after the comparison is found at the marks, and nothing else (seed ${SEED})`, async () => {
  await using following = await followed('after')
  await comparedUnderLoad(following, 'after')
  expect((await find(following)).rows).toEqual([])
  expect(await findAll(following)).toEqual([])
  await onTarget(following, SPOILED)
  await runWorkload(pair, 'after', { seed: SEED + 2, clients: 3, transactions: 60 })
  const found = await find(following)
  expect(found.rows).toEqual(await findAll(following))
  expect(found.rows.length).toBeGreaterThan(0)
  expect(found.atMarks.rows).toBeGreaterThan(0)
})

test(`what the stream spoils during the comparison is found, whether it had come there or not (seed ${SEED})`, async () => {
  await using following = await followed('during')
  await onTarget(following, SPOILED)
  await comparedUnderLoad(following, 'during')
  const found = await find(following)
  expect(found.rows).toEqual(await findAll(following))
  expect(found.rows.length).toBeGreaterThan(0)
  expect(found.atMarks.rows).toBeGreaterThan(0)
})
