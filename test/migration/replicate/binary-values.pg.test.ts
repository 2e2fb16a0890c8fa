import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { publishesBinary } from '../../../migration/replicate/binary-values.ts'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'

/** Whether the source is asked for binary values. */
async function isBinary({ context }: Following): Promise<boolean> {
  await using source = await context.source('test')
  return await publishesBinary(source, [sourceObjects(context.key, context.database).publication])
}

const COLUMNS = `
  b bool, i2 int2, i4 int4, i8 int8, o oid, f4 float4, f8 float8, n numeric, m numeric(20, 5), t text, vc varchar(10),
  c char(5), nm name, by bytea, u uuid, j json, jb jsonb, d date, ti time, tz timetz, ts timestamp, tstz timestamptz, iv interval`

/** Each as the values of all columns. */
const EXTREMES = [
  `true, -32768, -2147483648, -9223372036854775808, 4294967295, '-Infinity', '-0', 'NaN', '-123456789012345.12345', '', '', '',
   '', '', '00000000-0000-0000-0000-000000000000', ' {"a": 1.00, "a" : 1}', '{"n": 1e400, "z": null}', '-infinity', '00:00', '00:00+15:59',
   '-infinity', '4713-01-01 00:00:00+00 BC', '-178000000 years'`,
  `false, 32767, 2147483647, 9223372036854775807, 0, 1.17549435e-38, 4.9e-324, 1e-300, 0.00001, E'a\\\\N\\t\\n', 'é', 'x',
   repeat('n', 63), '\\x00ff', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '[]', '"\\u00e9"', '5874897-12-31', '24:00', '24:00-15:59',
   '294276-12-31 23:59:59.999999', 'infinity', '1 mon -1 day 00:00:00.000001'`,
  Array.from({ length: 23 }, () => 'null').join(', '),
]

describe.each([
  [15, 17],
  [17, 18],
])('PostgreSQL %d to %d', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test('binary values are carried exactly, by every kind of statement', async () => {
    await using following = await startFollowing(pair, 'binary', {
      ddl: `create table keyed (id int primary key, ${COLUMNS}); create table alike (${COLUMNS}); alter table alike replica identity full;
            create table by_text (k text, x int8, u uuid, v text, primary key (k, x, u))`,
    })
    expect(await isBinary(following)).toBe(true)
    const { app } = following
    for (const [i, values] of EXTREMES.entries()) {
      await app.query(`insert into keyed values (${i}, ${values}); insert into alike values (${values})`)
    }
    await following.expectEqual()
    // Enough rows for COPY, and updates of each, some of them with a large value.
    await app.query(`begin; insert into keyed select 100 + g, ${EXTREMES[1]} from generate_series(1, 50) g;
                     update keyed set i4 = i4 / 2, t = t || id, by = by || '\\x5c'::bytea; update alike set i8 = 1 where i8 > 1; commit`)
    await app.query(`update keyed set t = repeat(md5(id::text), 200000) where id = 0; update keyed set vc = 'w' where id = 0;
                     insert into by_text select 'k' || g, -g, md5(g::text)::uuid, 'v' from generate_series(1, 20) g`)
    await following.expectEqual()
    await app.query(`begin; update by_text set x = x - 1000 where x > -5; delete from by_text where x = -10; update by_text set v = 'w'; commit;
                     delete from keyed where id < 2; delete from alike where i8 = 1; delete from alike where b is null`)
    await following.expectEqual()
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })

  test('a type that differs on the target, or has no binary form of its own, is read as text from its place on', async () => {
    const messages: unknown[] = []
    await using following = await startFollowing(pair, 'to_text', {
      ddl: 'create table many (id int primary key, v text); create table t (id int primary key, v text)',
      targetDdl: 'alter table t alter v type varchar, alter id type bigint',
    })
    following.context.log = { ...following.context.log, info: (message) => void messages.push(message) }
    expect(await isBinary(following)).toBe(true)
    // Parts of a transaction are on the target, and not committed, when the other table comes.
    await following.app.query(
      `begin; insert into many select g, md5(g::text) from generate_series(1, 120000) g; insert into t values (1, 'x'); commit`,
    )
    await following.app.query(
      `insert into t select g, 'y' from generate_series(2, 30) g; update many set v = 'z' where id < 100`,
    )
    await following.expectEqual()
    expect(messages).toContain('Changes are read as text')
    expect(await following.onTarget(`select inserts || ' ' || updates from pgflex.progress`)).toBe('120030 99')
  })

  test('a type without a binary form that the catalog does not have any more is read as text from its place on', async () => {
    const messages: unknown[] = []
    await using following = await startFollowing(pair, 'no_form', {
      ddl: 'create table t (id int primary key, v text); create table gone (id int primary key, a aclitem)',
    })
    following.context.log = { ...following.context.log, info: (message) => void messages.push(message) }
    const { app } = following
    await app.query(`insert into t values (1, 'x')`)
    // Granted by the role of initdb, which both sides have.
    await app.query(`insert into gone values (1, makeaclitem(0, 10, 'SELECT', false))`)
    await app.query(`drop table gone; insert into t values (2, 'y')`)
    expect(await isBinary(following)).toBe(true)
    await following.catchUp()
    expect(messages).toContain('Changes are read as text')
    expect(await following.onTarget(`select string_agg(v, '' order by id) from public.t`)).toBe('xy')
  })

  test('tables with types of their own are read as text from the beginning', async () => {
    await using following = await startFollowing(pair, 'own_types', {
      ddl: `create type mood as enum ('sad', 'happy'); create table t (id int primary key, m mood, a int[])`,
    })
    expect(await isBinary(following)).toBe(false)
    await following.app.query(
      `insert into t select g, 'sad', array[g, null] from generate_series(1, 20) g; update t set m = 'happy'`,
    )
    await following.expectEqual()
  })

  test('a refused row of binary values is named as a reader knows it', async () => {
    await using following = await startFollowing(pair, 'refused', {
      ddl: 'create table t (id int, u uuid, v int, primary key (id, u))',
      targetDdl: 'alter table t add check (v < 10)',
    })
    await following.app.query(`insert into t values (-7, '00000000-0000-4000-8000-00000000000a', 10)`)
    await expect(following.slice({ ms: 10_000 })).rejects.toMatchObject({
      code: 'ApplyRefused',
      message: expect.stringContaining('(id=-7, u=00000000-0000-4000-8000-00000000000a)') as string,
    })
  })
})
