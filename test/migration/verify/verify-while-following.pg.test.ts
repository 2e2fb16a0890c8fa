import { afterAll, beforeAll, expect, test } from 'vitest'
import type { VerificationReport } from '../../../migration/model/status.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import { readDatabaseStatus, readEvents, readRecord, updateRecord } from '../../../migration/store/migrations.ts'
import { describeLasting } from '../../../migration/verify/lasting-differences.ts'
import { readRowsOf } from '../../../migration/verify/rows-of.ts'
import { verifyDatabase } from '../../../migration/verify/verify-database.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from '../replicate/following.ts'

let pair: ServerPair

const DDL = `
  create table account (id int primary key, balance numeric not null default 0, note text);
  create table word (word text, lang varchar(2), n int, primary key (word, lang));
  create table log (n int, v text); alter table log replica identity full`

const ROWS = `
  insert into account select i, i * 1.5, 'note ' || i from generate_series(1, 45000) i;
  insert into word select md5(i::text), 'de', i from generate_series(1, 2000) i;
  insert into log select i % 100, 'line' from generate_series(1, 500) i`

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

async function ask({ context }: Following): Promise<void> {
  await updateRecord(context.documents, context.key, (record) => ({
    ...record,
    requests: { ...record.requests, verify: { [context.database]: { at: new Date().toISOString() } } },
  }))
}

/** Follows in short slices until the comparison has ended. */
async function verified({ context }: Following, sliceMs: number): Promise<VerificationReport & { slices: number }> {
  for (let slices = 1; ; slices++) {
    expect(slices).toBeLessThan(120)
    await follow({ ...context, sliceMs })
    const record = await readRecord(context.documents, context.key)
    if (Object.hasOwn(record!.requests.verify!, context.database)) continue
    const { verification } = await readDatabaseStatus(context.documents, context.key, context.database)
    return { ...verification!, slices }
  }
}

/** Writes to every table until it is told to stop. */
async function writing({ app }: Following, work: () => Promise<void>): Promise<number> {
  let [stop, rounds] = [false, 0]
  const writer = (async () => {
    for (; !stop; rounds++) {
      await app.query(`update account set balance = balance + 1 where id % 5000 = ${rounds % 7} or id in (1, 2, 3)`)
      await app.query(`insert into account values (${100_000 + rounds}, 1, 'new')`)
      await app.query(`update word set n = n + 1 where word < '02'`)
      await app.query(`insert into log values (${rounds}, 'more')`)
      await app.query(`delete from log where ctid = (select max(ctid) from log where v = 'line')`)
    }
  })()
  await work().finally(() => {
    stop = true
  })
  await writer
  return rounds
}

test('what is only lag is not reported, while writes go on, over many slices', async () => {
  await using following = await startFollowing(pair, 'lagging', { ddl: DDL })
  await following.app.query(ROWS)
  // Nothing has been followed so far: at the first look nearly everything differs.
  await ask(following)
  let report: Awaited<ReturnType<typeof verified>>
  const rounds = await writing(following, async () => {
    report = await verified(following, 700)
  })
  expect(rounds).toBeGreaterThan(3)
  expect(report!).toMatchObject({ result: 'Equal', tables: 3, differences: [] })
  expect(report!.whileFollowing).toMatchObject({ tablesDone: 3, objects: [], skipped: [] })
  expect(report!.slices).toBeGreaterThan(1)
  expect(await following.onTarget('select count(*) from pgflex.verification')).toBe('0')
  await following.expectEqual()
})

test('lasting differences are found with key and columns, while writes go on', async () => {
  await using following = await startFollowing(pair, 'differing', { ddl: DDL })
  const { app, context } = following
  await app.query(ROWS)
  await following.catchUp()
  const word = `(select max(word) from word)`
  {
    await using target = await context.target('test')
    await target.query(`
      set search_path = public;
      update account set note = 'other', balance = 7 where id = 31234;
      delete from account where id = 44001;
      insert into account values (-5, 0, 's3cr3t value');
      delete from word where word = ${word};
      insert into word values ('zz', 'de', 0);
      insert into log values (99, 'only here');
      create table mine (i int);
      create index extra on account (note)`)
  }
  const { rows } = await app.query<{ word: string }>(`select ${word} as word`)
  await ask(following)
  let report: Awaited<ReturnType<typeof verified>>
  await writing(following, async () => {
    report = await verified(following, 5_000)
  })
  expect(report!.result).toBe('Different')
  const differing = Object.fromEntries(report!.differences.map(({ table, rows: some }) => [table, some!]))
  expect(differing['public.account']!.toSorted((a, b) => Number(a.key['id']) - Number(b.key['id']))).toEqual([
    { key: { id: '-5' }, found: 'OnlyTarget', columns: [] },
    {
      key: { id: '31234' },
      found: 'Different',
      columns: [
        { column: 'balance', source: '46851.0', target: '7' },
        { column: 'note', source: 'note 31234', target: 'other' },
      ],
    },
    { key: { id: '44001' }, found: 'OnlySource', columns: [] },
  ])
  expect(differing['public.word']).toEqual([
    { key: { word: rows[0]!.word, lang: 'de' }, found: 'OnlySource', columns: [] },
    { key: { word: 'zz', lang: 'de' }, found: 'OnlyTarget', columns: [] },
  ])
  expect(differing['public.log']).toEqual([
    {
      key: {},
      found: 'OnlyTarget',
      columns: [
        { column: 'n', source: null, target: '99' },
        { column: 'v', source: null, target: 'only here' },
      ],
    },
  ])
  expect(report!.whileFollowing!.objects).toEqual([
    { kind: 'Column', name: 'public.mine.i integer', found: 'OnlyTarget' },
    { kind: 'Index', name: 'public.extra', found: 'OnlyTarget' },
    { kind: 'Table', name: 'public.mine', found: 'OnlyTarget' },
  ])
  const events = (await readEvents(context.documents, context.key)).filter(({ event }) => event === 'Verified')
  expect(events).toMatchObject([{ level: 'warning' }])
  expect(JSON.stringify(events)).not.toContain('s3cr3t')
})

test('rows that have become equal hide none that differs', async () => {
  await using following = await startFollowing(pair, 'hidden', { ddl: DDL })
  const { app, context } = following
  await app.query('insert into account select i from generate_series(1, 50) as i')
  await following.catchUp()
  await using source = await context.source('test')
  await using target = await context.target('test')
  await target.query(`update public.account set note = 'other' where id = 50`)
  const rows = (await readRowsOf(source, target, 'sha256')).get('public\0account')!
  const lasting = Array.from({ length: 50 }, (_, i) => ({
    id: JSON.stringify([String(i + 1)]),
    source: 'x',
    strikes: 2,
  }))
  const shown = new Map(lasting.map(({ id }) => [id, 'y']))
  expect((await describeLasting(source, target, rows, lasting, shown)).map(({ key }) => key)).toEqual([{ id: '50' }])
  expect(await describeLasting(source, target, rows, lasting.slice(0, 49), shown)).toEqual([])
})

test('a table without identity and an unlogged one are left to the cutover, and it says so', async () => {
  await using following = await startFollowing(pair, 'unfollowed', {
    ddl: 'create table plain (i int); create unlogged table cache (i int primary key)',
  })
  await ask(following)
  const report = await verified(following, 1_500)
  expect(report).toMatchObject({ result: 'Equal', tables: 0 })
  expect(report.whileFollowing!.skipped.map(({ table }) => table)).toEqual(['public.cache', 'public.plain'])
})

test('the comparison of the cutover names the rows, and its error has no value of them', async () => {
  await using following = await startFollowing(pair, 'frozen', { ddl: DDL, pgflex: { verify: 'Checksums' } })
  const { app, context } = following
  await app.query(ROWS)
  await following.catchUp()
  expect(await verifyDatabase(context)).toEqual({ result: 'Equal', message: '3 tables whole, with 47500 rows.' })
  {
    await using target = await context.target('test')
    await target.query(`
      update public.account set note = 's3cr3t value' where id in (2, 44000);
      delete from public.word where n = 77;
      delete from public.log where n = 5`)
  }
  const error = await verifyDatabase(context).catch((reason: unknown) => reason as Error)
  expect(error).toMatchObject({ code: 'VerificationFailed' })
  expect(JSON.stringify(error) + (error as Error).message).not.toContain('s3cr3t')
  const { verification } = await readDatabaseStatus(context.documents, context.key, context.database)
  const differing = Object.fromEntries(verification!.differences.map(({ table, rows }) => [table, rows!]))
  expect(differing['public.account']).toEqual(
    [2, 44_000].map((id) => ({
      key: { id: String(id) },
      found: 'Different',
      columns: [{ column: 'note', source: `note ${id}`, target: 's3cr3t value' }],
    })),
  )
  expect(differing['public.word']).toMatchObject([{ key: { lang: 'de' }, found: 'OnlySource' }])
  expect(differing['public.log']).toMatchObject([{ found: 'OnlySource', columns: [{ column: 'n', source: '5' }, {}] }])
})
