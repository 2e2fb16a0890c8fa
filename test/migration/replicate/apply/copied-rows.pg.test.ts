import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServerPair, type ServerPair } from '../../../support/servers.ts'
import { startFollowing } from '../following.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** What COPY's text format gives a meaning to, and what is near it. */
const HOSTILE = [
  '\\',
  '\\N',
  '\\.',
  '\t',
  '\n',
  '\r',
  '\r\n',
  '\\t',
  '',
  ' ',
  '"',
  "'",
  ',',
  '\u00e9',
  '\u{1f600}',
  '\b',
  '\v',
  '\f',
  'N',
]

const seed = Number(process.env['PGFLEX_TEST_SEED'] ?? Math.floor(Math.random() * 1e6))

test(`rows that are copied keep every character, whatever COPY would read into it (seed ${seed})`, async () => {
  await using following = await startFollowing(pair, 'hostile', {
    ddl: 'create table t (id int primary key, a text, b text, c bytea); create table one (v text)',
  })
  const values = fc.sample(
    fc.array(fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'grapheme', maxLength: 5 })), { maxLength: 6 }),
    { numRuns: 400, seed },
  )
  const texts = [...HOSTILE, ...values.map((parts) => parts.join('').replaceAll('\0', ''))]
  await following.app.query(
    `insert into t select i, v, case when i % 3 = 0 then null else reverse(v) end, convert_to(v, 'UTF8')
       from unnest($1::text[]) with ordinality as u (v, i)`,
    [texts],
  )
  await following.app.query('insert into one select * from unnest($1::text[])', [texts])
  await following.expectEqual()
  expect(await following.onTarget('select inserts from pgflex.progress')).toBe(String(2 * texts.length))
})

test('rows of many megabytes are inserted, updated with and without their large values, and deleted', async () => {
  await using following = await startFollowing(pair, 'large_rows', {
    ddl: `create table t (id int primary key, small text, a text, b bytea); alter table t alter a set storage external;
          create table two (id int not null, other text not null, v text, primary key (other, id))`,
  })
  const { app } = following
  await app.query(`insert into t select g, 'first', repeat(E'\\\\ \\t', 1500000), null from generate_series(1, 3) g`)
  await app.query(`insert into two values (1, 'k', 'v')`)
  await following.expectEqual()
  // In one transaction, so that a group has large and small updates of the table.
  await app.query(`begin; update t set small = 'second'; update t set a = repeat(md5(id::text), 300000) where id < 3;
                   update t set b = decode(repeat('00ff5c0a', 2000000), 'hex') where id = 3;
                   update two set v = repeat('w' || E'\\n', 3000000); commit`)
  await following.expectEqual()
  await app.query(
    `begin; update two set id = 2, other = 'm', v = repeat('x', 9000000); delete from t where id = 1; commit`,
  )
  await following.expectEqual()
  expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
})
