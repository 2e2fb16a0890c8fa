import { BLOCK } from '../../../migration/replicate/apply/integer-blocks.ts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { acquireLease } from '../../../migration/control/lease.ts'
import { Marking } from '../../../migration/replicate/marking.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import { beginTables, markedFrom, readComparedTables } from '../../../migration/verify/compared-tables.ts'
import { readMarks } from '../../../migration/verify/table-marks.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing } from './following.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const DDL = `create table t (a int, b text, v int, primary key (a, b)); create table n (id bigint primary key)`
const TABLES = ['t', 'n'].map((name) => ({ schema: 'public', name, bytes: 0 }))

test('since when changes are marked is said by whoever holds the lease, and by nobody who has lost it', async () => {
  await using following = await startFollowing(pair, 'said', { ddl: DDL })
  const { context } = following
  await using control = await context.target('test')
  await using session = await context.target('test lease')
  await using lease = await acquireLease(session, 'replicate')
  const ids = await beginTables(control, TABLES)
  const marking = await Marking.open(control, lease!, { tidy: false })
  const frozen = await Marking.open(
    control,
    { name: 'replicate', fence: String(Number(lease!.fence) - 1) },
    { tidy: false },
  )
  await frozen.say(10n)
  expect([...(await markedFrom(control, ids)).values()]).toEqual([null, null])
  await marking.say(16n)
  expect([...(await markedFrom(control, ids)).values()]).toEqual(['0/10', '0/10'])
  // A comparison of a table that begins anew waits again, and says nothing of the others.
  const [again] = await beginTables(control, [TABLES[0]!])
  await marking.look()
  await marking.say(32n)
  expect(await markedFrom(control, [...ids, again!])).toEqual(
    new Map([
      [ids[1], '0/10'],
      [again, '0/20'],
    ]),
  )
})

test('many marks are put together into few, each key once, and none is lost', async () => {
  await using following = await startFollowing(pair, 'together', { ddl: DDL })
  await using control = await following.context.target('test')
  const [t, n] = (await beginTables(control, TABLES)) as [number, number]
  await control.query(
    `insert into pgflex.change_mark (table_id, marks, keys)
     select ${t}, 2, array[array[i % 300, i % 7]::int[]::text, array['x,"\\ ' || i % 300, 'NULL']::text[]::text]
       from generate_series(1, 600) i;
     insert into pgflex.change_mark (table_id, marks, keys, blocks)
     select ${n}, 2, case when i % 2 = 0 then array[array[i % 50]::bigint[]::text] end, case when i % 2 = 1 then array[i % 40 - 20] end
       from generate_series(1, 600) i`,
  )
  const before = [await readMarks(control, t, 2), await readMarks(control, n, 1)]
  expect(before[0]!.keys.length).toBe(307)
  await Marking.open(control, { name: 'replicate', fence: '0' }, { tidy: true })
  expect([await readMarks(control, t, 2), await readMarks(control, n, 1)]).toEqual(before)
  const { rows } = await control.query<{ marks: string }>('select marks from pgflex.change_mark order by table_id')
  expect(rows.map(({ marks }) => Number(marks))).toEqual([307, 25 + 20])
  expect((await readComparedTables(control)).get('public\0t')?.marks).toBe(307)
})

test('a key that JavaScript has no number for is in no block', async () => {
  await using following = await startFollowing(pair, 'rounded', { ddl: DDL })
  await using control = await following.context.target('test')
  const keys = ['-9007199254740993', '-9007199254740992', '-9007199254740991', '-9007199254740990']
  await control.query(
    `insert into pgflex.change_mark (table_id, marks, keys, blocks) values (1, 5, array['{${keys.join(',')}}'], array[$1::bigint])`,
    [Math.floor(Number.MIN_SAFE_INTEGER / BLOCK)],
  )
  const left = (await readMarks(control, 1, 1)).keys.map(([key]) => key)
  expect(new Set(left)).toEqual(new Set(keys.slice(0, 2)))
})

test('a table is not compared before the target has what was read when its changes were not yet marked', async () => {
  await using following = await startFollowing(pair, 'waits', { ddl: DDL, pgflex: { verify: 'Checksums' } })
  const { app, context } = following
  await app.query(`insert into t values (1, 'x', 0)`)
  await following.catchUp()
  await using blocker = await pair.target.connect('waits')
  await blocker.query('begin; select from t for update')
  await app.query('update t set v = 1')
  const drain = new AbortController()
  const slice = follow({ ...context, sliceMs: 60_000, draining: drain.signal })
  try {
    const until = async (sql: string, value: string): Promise<void> => {
      while ((await following.onTarget(sql)) !== value) await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await until(`select (count(marked_from) = 2)::text from pgflex.compared_table`, 'true')
    await until(
      `select (count(*) > 0)::text from pg_stat_activity where application_name = 'pgflex verify control' and query like '%acknowledged_lsn%'`,
      'true',
    )
    expect(await following.onTarget('select count(definition) from pgflex.compared_table')).toBe('0')
    expect(await following.onTarget('select count(*) from pgflex.change_mark')).toBe('0')
    await blocker.query('rollback')
    await until(`select (count(*) = 2)::text from pgflex.compared_table where state = 'equal'`, 'true')
  } finally {
    drain.abort()
    await slice
  }
})
