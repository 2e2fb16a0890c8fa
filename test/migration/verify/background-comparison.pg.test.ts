import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'
import { readEvents, updateRecord } from '../../../migration/store/migrations.ts'
import { startFollowing, type Following } from '../replicate/following.ts'
import { startBackgroundProcess } from './background-process.ts'
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

/** A trigger that spoils a row on its way: what the stream writes is not what the source has. */
const SPOILED = `
  create function spoil() returns trigger language plpgsql as $$ begin new.note := 'spoiled'; return new; end $$;
  create trigger spoil before insert or update on account for each row when (new.note = 'spoil me') execute function spoil();
  alter table account enable always trigger spoil`

async function started(database: string): Promise<Following> {
  const following = await startFollowing(pair, database, CHECKSUMS)
  await following.app.query(ROWS)
  return following
}

test('after a comparison in the background the cutover compares the rows that were changed since, and no others', async () => {
  await using following = await started('price')
  const { app } = following
  const { tables, tablesCompared } = await comparedInBackground(following)
  // The table without an identity is compared whole.
  expect({ tables, tablesCompared }).toEqual({ tables: 5, tablesCompared: 4 })
  expect(await statusOf(following)).toMatchObject({ verification: { result: 'Equal', tables: 4, rows: 49_500 } })
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
  const expected = { result: 'Equal', atMarks: { tables: 4, rows: 7 }, whole: { tables: 1, rows: 1 } }
  expect(await cutoverComparison(following)).toMatchObject(expected)
  // A hot row is one row, and rows that follow each other cost hardly any marks.
  for (let i = 0; i < 20; i++) await app.query('update account set balance = balance + 1 where id = 7')
  await app.query(`insert into account select i, 0, 'bulk' from generate_series(100000, 109999) i`)
  expect(await cutoverComparison(following)).toMatchObject({ ...expected, atMarks: { tables: 4, rows: 10_007 } })
  expect(Number(await following.onTarget(`select sum(marks) from pgflex.change_mark`))).toBeLessThan(250)
})

test('a difference that came with the stream is found among the marked rows, and named', async () => {
  await using following = await started('spoiled')
  const { app, context } = following
  await comparedInBackground(following)
  await onTarget(following, SPOILED)
  await app.query(
    `update account set note = 'spoil me' where id = 31234; update account set note = 'fine' where id = 5`,
  )
  const { error, ...report } = await cutoverComparison(following)
  expect(error).toBe('VerificationFailed')
  expect(report.atMarks).toEqual({ tables: 4, rows: 2 })
  expect(report.differences).toEqual([
    {
      table: 'public.account',
      source: '0 rows that the other side does not have, 1 that differ',
      target: '0 rows that the other side does not have, 1 that differ',
      rows: [
        {
          key: { id: '31234' },
          found: 'Different',
          columns: [{ column: 'note', source: 'spoil me', target: 'spoiled' }],
        },
      ],
    },
  ])
  expect(JSON.stringify(await readEvents(context.documents, context.key))).not.toContain('spoil me')
})

test('tables that are not found equal, or not reached, are compared whole', async () => {
  await using following = await started('whole')
  const { app } = following
  await following.catchUp()
  // Somebody has spoiled a row before the comparison, another one after it where it can't be seen.
  await onTarget(following, 'update word set n = -1 where n = 100')
  await comparedInBackground(following)
  expect(await statusOf(following)).toMatchObject({ verification: { result: 'Different' } })
  expect(await cutoverComparison(following)).toMatchObject({
    error: 'VerificationFailed',
    differences: [{ table: 'public.word' }],
    atMarks: { tables: 3 },
    whole: { tables: 2 },
  })
  await onTarget(following, `update word set n = 100 where n = -1; update account set note = 'by hand' where id = 9`)
  await app.query('update account set balance = 0 where id = 10')
  // A write of somebody else on the target is seen by a comparison of all rows only.
  expect(await cutoverComparison(following)).toMatchObject({ result: 'Equal', atMarks: { tables: 3, rows: 1 } })
  const { record } = following.context
  const compareAll = { ...record.properties, pgflex: { ...record.properties.pgflex, compareAll: true } }
  const context = { ...following.context, record: { ...record, properties: compareAll } }
  expect(await cutoverComparison({ ...following, context })).toMatchObject({
    error: 'VerificationFailed',
    differences: [{ table: 'public.account', rows: [{ key: { id: '9' } }] }],
    atMarks: { tables: 0 },
    whole: { tables: 5 },
  })
})

test('a cutover before the end of the comparison compares what is not reached whole, and finds what differs there', async () => {
  await using following = await started('unreached')
  await following.catchUp()
  await onTarget(following, `update account set note = 'other' where id = 40000`)
  expect(await cutoverComparison(following)).toMatchObject({
    error: 'VerificationFailed',
    differences: [{ table: 'public.account', rows: [{ key: { id: '40000' } }] }],
    whole: { tables: 5 },
  })
})

test('what no mark of a row can tell makes the table be compared whole: TRUNCATE, ALTER TABLE, changes without a key', async () => {
  await using following = await started('unmarkable')
  const { app } = following
  await comparedInBackground(following)
  await app.query(`
    truncate token;
    insert into token values (md5('new')::uuid, 1);
    alter table word add column extra int default 5;
    insert into log values (1, 'changed')`)
  const report = await cutoverComparison(following)
  expect(report).toMatchObject({ result: 'Equal', atMarks: { tables: 1, rows: 0 }, whole: { tables: 4 } })
  expect(
    await following.onTarget(
      'select string_agg(table_name, $$ $$ order by table_name) from pgflex.compared_table join pgflex.marked_table using (id) where whole',
    ),
  ).toBe('log token')
})

test('a table is compared again in the background when more of it was changed than is marked', async () => {
  await using following = await started('again')
  await comparedInBackground(following)
  await following.app.query(`truncate token; insert into token values (md5('new')::uuid, 1)`)
  await following.catchUp()
  expect(await cutoverComparison(following)).toMatchObject({ atMarks: { tables: 3 }, whole: { tables: 2 } })
  await onTarget(
    following,
    `update pgflex.compared_table set ended_at = ended_at - interval '11 minutes';
     update pgflex.step set finished_at = finished_at - interval '11 minutes'`,
  )
  await comparedInBackground(following)
  expect(await cutoverComparison(following)).toMatchObject({ atMarks: { tables: 4, rows: 0 }, whole: { tables: 1 } })
})

test('rows are marked and found again by keys of any type and text', async () => {
  await using following = await startFollowing(pair, 'keys', {
    ddl: `
      create type mood as enum ('so so', 'fine');
      create domain code as varchar(30);
      create table odd (m mood, at timestamptz, bytes bytea, t code, c char(6), f float8, n numeric, a int[], v int,
                        primary key (m, at, bytes, t, c, f, n, a));
      create table indexed (id int primary key, b text not null, a bool not null, v int);
      create unique index indexed_key on indexed (b, a);
      alter table indexed replica identity using index indexed_key;
      create table small (id smallint primary key, v int);
      create table big (id bigint primary key, v int)`,
    pgflex: { verify: 'Checksums' },
  })
  const { app } = following
  await app.query(`
    set time zone 'Asia/Kolkata'; set datestyle = 'SQL, DMY';
    insert into odd
    select m::mood, '2024-05-05 01:02:03.456789+02'::timestamptz + i * interval '1 day 1.000001 s', bytes::bytea, t, c,
           f::float8, n::numeric, a::int[], i
      from generate_series(1, 30) i,
           (values ('so so', '\\x00ff', 'a''b"c\\d,{e}', 'x', '0.1', '1.10', '{1,NULL}'),
                   ('fine', '', 'NULL', '', '1e-300', 'NaN', '{}'),
                   ('fine', '\\x5c', 'ü €', ' y', 'Infinity', '-0.000', '{{1},{2}}')) as k (m, bytes, t, c, f, n, a);
    insert into indexed select i, case i % 3 when 0 then 'NULL' else 'b "' || i end || i, i % 2 = 0, 0 from generate_series(1, 60) i;
    insert into small select i, 0 from generate_series(-32768, 32767, 500) i;
    insert into small values (32767, 0);
    insert into big values (-9223372036854775808, 0), (9223372036854775807, 0), (9007199254740993, 0), (-1, 0), (0, 0)`)
  expect(await comparedInBackground(following)).toMatchObject({ tables: 4, tablesCompared: 4 })
  await app.query(`
    update odd set v = -v where v % 3 = 0;
    update indexed set v = 1 where id % 3 = 0;
    update indexed set b = 'moved' where id = 7;
    update small set v = 1 where id in (-32768, 32767, 232);
    update big set v = 1 where id <> 0`)
  expect(await cutoverComparison(following)).toMatchObject({
    result: 'Equal',
    atMarks: { tables: 4, rows: 30 + 20 + 1 + 3 + 4 },
    whole: { tables: 0 },
  })
  await onTarget(
    following,
    `update odd set v = 0 where v = -30 and t = 'NULL'; update big set v = 0 where id = 9007199254740993`,
  )
  const { differences } = await cutoverComparison(following)
  expect(differences.map(({ table, rows }) => [table, rows!.length])).toEqual([
    ['public.big', 1],
    ['public.odd', 1],
  ])
})

test('what the stream does not carry is seen all the same: another name for a while, a label of an enum, a publication', async () => {
  await using following = await startFollowing(pair, 'unseen', {
    ddl: `
      create type mood as enum ('a', 'b');
      create table labelled (id int primary key, m mood);
      create table narrow (id int primary key, extra int);
      create table renamed (id int primary key, v int);
      create table unpublished (id int primary key, v int);
      create schema away;
      create table away.t (id int primary key, v int);
      create table kept (id int primary key, v int)`,
    targetDdl: 'alter table narrow drop column extra',
    pgflex: { verify: 'Checksums' },
  })
  const { app, context } = following
  await app.query(`
    insert into labelled values (1, 'a');
    insert into renamed values (1, 1);
    insert into unpublished values (1, 1);
    insert into away.t values (1, 1);
    insert into kept values (1, 1)`)
  expect(await comparedInBackground(following)).toMatchObject({ tables: 6, tablesCompared: 6 })
  const { publication } = sourceObjects(context.key, context.database)
  await using source = await context.source('test')
  await source.query(`alter publication ${publication} drop table public.unpublished`)
  await source.query('alter schema away rename to gone; update gone.t set v = 9; alter schema gone rename to away')
  await app.query(`
    alter table renamed rename to other;
    update other set v = 9;
    alter table other rename to renamed;
    alter type mood rename value 'a' to 'c';
    update unpublished set v = 9;
    create index on kept (v);
    grant select on kept to public;
    alter table kept alter v set statistics 10`)
  await app.query('vacuum (freeze, analyze) kept')
  await source.query(`alter publication ${publication} add table public.unpublished`)
  const report = await cutoverComparison(following)
  expect(report).toMatchObject({ error: 'VerificationFailed', atMarks: { tables: 1, rows: 0 }, whole: { tables: 5 } })
  expect(report.differences.map(({ table }) => table)).toEqual([
    'away.t',
    'public.labelled',
    'public.narrow',
    'public.renamed',
    'public.unpublished',
  ])
})

test('a row that is there twice differs, although its key and its values are the same', async () => {
  await using following = await startFollowing(pair, 'twice', {
    ddl: 'create table account (id int primary key, v int)',
    targetDdl: 'alter table account drop constraint account_pkey',
    pgflex: { verify: 'Checksums' },
  })
  await following.app.query('insert into account select i, i from generate_series(1, 100) as i')
  await comparedInBackground(following)
  await following.app.query('update account set v = 0 where id = 5')
  await following.catchUp()
  await onTarget(following, 'insert into account select * from account where id = 5')
  expect(await cutoverComparison(following)).toMatchObject({
    error: 'VerificationFailed',
    differences: [{ table: 'public.account' }],
    atMarks: { tables: 1 },
  })
})

test('a key whose type has an order of its own is compared from one end to the other, and whole when it was changed', async () => {
  await using following = await startFollowing(pair, 'mails', {
    ddl: `
      create extension citext;
      create table mail (address citext collate "C" primary key, v int);
      create table few (address citext primary key, v int)`,
    pgflex: { verify: 'Checksums' },
  })
  const { app } = following
  // Without their case capital letters come last, by their bytes first; a range has 20,000 rows.
  await app.query(`
    insert into mail select 'a' || i, i from generate_series(1, 20500) as i;
    insert into mail values ('Z', 0);
    insert into few values ('a', 0)`)
  await following.catchUp()
  await onTarget(following, `update mail set v = 1 where address = 'Z'`)
  expect(await comparedInBackground(following)).toMatchObject({ tables: 2, tablesCompared: 1 })
  expect((await statusOf(following)).verification).toMatchObject({
    result: 'Different',
    differences: [{ table: 'public.mail', rows: [{ key: { address: 'Z' } }] }],
  })
  await onTarget(following, `update mail set v = 0 where address = 'Z'`)
  expect(await cutoverComparison(following)).toMatchObject({ result: 'Equal', atMarks: { tables: 1, rows: 0 } })
  // No index finds a row by the operators that a comparison has: thousands of rows would be looked up in vain.
  await app.query(`update few set address = 'A'`)
  expect(await cutoverComparison(following)).toMatchObject({ result: 'Equal', atMarks: { tables: 0 } })
})

test('a comparison that the user asks for goes first; the one in the background goes on after it', async () => {
  await using following = await started('asked')
  const { context } = following
  const drain = new AbortController()
  const slice = follow({ ...context, sliceMs: 60_000, draining: drain.signal })
  const until = async (holds: () => Promise<boolean>): Promise<void> => {
    while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  try {
    await until(async () => (await statusOf(following)).comparison?.running === true)
    const at = new Date().toISOString()
    await updateRecord(context.documents, context.key, (record) => ({
      ...record,
      requests: { ...record.requests, verify: { [context.database]: { at } } },
    }))
    await until(async () => (await statusOf(following)).verification?.whileFollowing?.endedAt !== undefined)
    const { verification, comparison } = await statusOf(following)
    expect(verification).toMatchObject({ result: 'Equal', tables: 4, whileFollowing: { requestedAt: at } })
    expect(comparison!.running).toBe(true)
  } finally {
    drain.abort()
    await slice
  }
  expect(await comparedInBackground(following)).toMatchObject({ tablesCompared: 4 })
})

test('a killed host goes on with the comparison where it was, and no mark is lost', async () => {
  await using following = await startFollowing(pair, 'killed', CHECKSUMS)
  const { app } = following
  await app.query(`insert into account select i, i, 'x' from generate_series(1, 150000) i`)
  await following.catchUp()
  const place = `select ((state -> 'cursor' -> 'lower') ->> 0)::int from pgflex.verification`
  const reached = async (least: number): Promise<number> => {
    for (;;) {
      const at = Number(await following.onTarget(place))
      if (at >= least) return at
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const table = `select id from pgflex.compared_table where table_name = 'account'`
  let [killedAt, id]: [number, string | null] = [0, null]
  {
    await using host = startBackgroundProcess(following.migration)
    killedAt = await reached(1)
    id = await following.onTarget(table)
    // One on each side of the place, and one in an open transaction of the host, perhaps.
    await app.query('update account set balance = -1 where id in (1, 149999)')
    host.child.kill('SIGKILL')
  }
  await app.query('update account set balance = -2 where id in (2, 149998)')
  {
    await using _host = startBackgroundProcess(following.migration)
    await reached(killedAt + 1)
    await app.query('update account set balance = -3 where id in (3, 149997)')
  }
  await comparedInBackground(following)
  expect(await following.onTarget(table)).toBe(id)
  expect(await cutoverComparison(following)).toMatchObject({ result: 'Equal', atMarks: { tables: 4, rows: 6 } })
})

test('marks are there if and only if their changes are, whenever the session that applies is ended', async () => {
  await using following = await startFollowing(pair, 'ended', CHECKSUMS)
  const { app, context } = following
  await app.query(ROWS)
  await comparedInBackground(following)
  await using admin = await pair.target.connect(context.database)
  let changed = 0
  for (let round = 0; round < 3; round++) {
    let ended = false
    const slice = following.slice({ ms: 20_000 }).finally(() => {
      ended = true
    })
    slice.catch(() => {})
    while (!ended) {
      // Too far from each other to be marked as neighbours.
      changed++
      await app.query('update account set balance = -1 where id = $1', [changed * 10])
      await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
          where application_name = 'pgflex apply' and backend_xid is not null`,
      )
    }
    await expect(slice).rejects.toThrow(/terminat|connection/i)
  }
  expect(changed).toBeLessThan(4_500)
  const { result, atMarks } = await cutoverComparison(following)
  expect(result).toBe('Equal')
  expect(atMarks).toEqual({ tables: 4, rows: changed })
})
