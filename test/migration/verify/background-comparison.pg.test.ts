import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing } from '../replicate/following.ts'
import { comparedInBackground, cutoverComparison, onTarget, statusOf } from './background.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = `
  create table account (id int primary key, balance numeric not null default 0, note text);
  create table word (word text, lang varchar(2), n int, primary key (word, lang));
  create table token (id uuid primary key, v int);
  create table log (n int, v text); alter table log replica identity full;
  create table plain (i int)`

const ROWS = `
  insert into account select i, i * 1.5, 'note ' || i from generate_series(1, 45000) i;
  insert into word select md5(i::text), 'de', i from generate_series(1, 2000) i;
  insert into token select md5(i::text)::uuid, i from generate_series(1, 2000) i;
  insert into log select i % 100, 'line' from generate_series(1, 500) i;
  insert into plain values (1)`

const CHECKSUMS = { ddl: DDL, pgflex: { verify: 'Checksums' } } as const

test('after a comparison in the background the cutover compares the rows that were changed since, and no others', async () => {
  await using following = await startFollowing(pair, 'price', CHECKSUMS)
  const { app } = following
  await app.query(ROWS)
  const { tables, tablesCompared } = await comparedInBackground(following)
  // The table without an identity is compared whole.
  expect({ tables, tablesCompared }).toEqual({ tables: 5, tablesCompared: 4 })
  expect(await cutoverComparison(following)).toMatchObject({
    result: 'Equal',
    tables: 5,
    atMarks: { tables: 4, rows: 0 },
    whole: { tables: 1, rows: 1 },
  })
  await app.query(`
    update account set balance = 0 where id in (7, 30000, 44999);
    update account set balance = 1 where id = 7;
    delete from account where id = 8;
    insert into account values (-5, 1, 'new');
    update word set lang = 'fr' where n = 77;
    update word set n = 0 where n = 78;
    update token set v = -1 where v = 1500`)
  // Of account four rows that are there, of word the row under its new key, and another one, one of token.
  expect(await cutoverComparison(following)).toMatchObject({
    result: 'Equal',
    atMarks: { tables: 4, rows: 7 },
    whole: { tables: 1, rows: 1 },
  })
})
