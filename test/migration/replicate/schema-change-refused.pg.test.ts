import { afterAll, beforeAll, expect, test } from 'vitest'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

test.each([
  {
    what: 'a default that differs from row to row',
    ddl: `alter table t add x float8 default random()`,
    why: /column "x" was added, and the rows of the table were written anew/,
    hint: 'alter table "public"."t" add column "x" double precision;',
    mend: '',
  },
  {
    what: 'such a default that is gone again',
    ddl: `alter table t add x int default floor(random()); alter table t alter x drop default`,
    why: /"x" was added, and the rows/,
    hint: 'add column "x" integer',
    mend: 'alter table t add x int default 0',
  },
  {
    what: 'a serial column',
    ddl: `alter table t add x serial`,
    why: /"x" was added, and the rows/,
    hint: 'add column "x" integer',
    mend: `alter table t add x int; update t set x = id`,
  },
  {
    what: 'a type that holds other values',
    ddl: `alter table t alter a type int using length(a)`,
    why: /type of column "a" was changed from text to integer/,
    hint: 'alter table "public"."t" alter column "a" type integer using …;',
    mend: `alter table t alter a type int using length(a)`,
  },
  {
    what: 'a float that gets wider',
    ddl: `alter table t alter f type float8`,
    why: /from real to double precision/,
    hint: 'alter column "f" type double precision',
    mend: `alter table t alter f type float8`,
  },
  {
    what: 'a type that looks wider, with other values',
    ddl: `alter table t alter s type varchar(20) using upper(s)`,
    why: /from character varying\(10\) to character varying\(20\), and the rows were written anew/,
    hint: 'alter column "s" type character varying(20)',
    mend: `alter table t alter s type varchar(20) using upper(s)`,
  },
  {
    what: 'names that change places',
    ddl: `alter table t rename a to tmp; alter table t rename s to a; alter table t rename tmp to s`,
    why: /another column of the source is called "[as]" now/,
    hint: 'drop table "public"."t"; on the target',
    mend: '',
  },
  {
    what: 'a column that is dropped and made again under its name',
    ddl: `alter table t drop a, add a text`,
    why: /another column of the source is called "a" now/,
    hint: 'Have the table copied anew',
    mend: '',
  },
  {
    what: 'a generated column that becomes an ordinary one',
    ddl: `alter table t alter g drop expression`,
    why: /column g is no longer generated/,
    hint: 'Replication then goes on by itself',
    mend: `alter table t alter g drop expression`,
  },
])(
  '$what stops replication at its place, by name, and it goes on when the target is mended',
  async ({ ddl, why, hint, mend }) => {
    const database = `refused_${Math.random().toString(36).slice(2, 10)}`
    await using following = await startFollowing(pair, database, {
      ddl: `create table t (id int primary key, a text, s varchar(10), f float4, g int generated always as (id * 2) stored);
          create table u (id int primary key)`,
    })
    const { app } = following
    await app.query(`insert into t values (1, 'one', 's', 0.1), (2, 'two', 't', 0.2); insert into u values (1)`)
    await app.query('insert into u values (2)')
    await following.catchUp()
    await app.query(`begin; insert into u values (3); ${ddl}; update t set f = 0.5 where id = 2; commit`)
    await app.query('insert into u values (4)')
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(following.slice({ ms: 20_000 })).rejects.toMatchObject({
        code: 'SchemaChanged',
        retryable: false,
        message: expect.stringMatching(why),
        hint: expect.stringContaining(hint),
      })
      expect(await following.onTarget(`select string_agg(id::text, ' ' order by id) from public.u`)).toBe('1 2')
      expect(await following.onTarget(`select string_agg(a, ' ' order by id) from public.t`)).toBe('one two')
    }
    if (mend === '') return
    await using target = await pair.target.connect(database)
    await target.query(mend)
    await following.expectEqual()
    // What it is now is known for the next change.
    await app.query(
      `alter table t add later int default 3; update t set f = 0.75 where id = 1; alter table t drop later; insert into t (id) values (7)`,
    )
    await following.expectEqual()
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  },
)

test('a view on the target that is in the way stops replication, which goes on when it is gone', async () => {
  await using following = await startFollowing(pair, 'in_the_way', {
    ddl: 'create table t (id int primary key, a text)',
    targetDdl: 'create view v as select a from t',
  })
  const { app } = following
  await app.query(`insert into t values (1, 'one')`)
  await following.expectEqual()
  await app.query(`begin; insert into t values (2, 'two'); alter table t drop a; insert into t values (3); commit`)
  await expect(following.slice({ ms: 20_000 })).rejects.toMatchObject({
    code: 'SchemaChanged',
    message: expect.stringMatching(
      /public\.t was changed .* the target refused it: .*depend.*Source: \("id" integer\)\. Target: \("id" integer, "a" text\)/,
    ),
    hint: expect.stringContaining('drop column "a"'),
  })
  expect(await following.onTarget('select count(*) from public.t')).toBe('1')
  await using target = await pair.target.connect('in_the_way')
  await target.query('drop view v')
  await following.expectEqual()
})

test('a change that can not be carried over is told before its first row, and stops only whoever wants to reach a place', async () => {
  await using following = await startFollowing(pair, 'told_early', {
    ddl: 'create table t (id int primary key, a text)',
  })
  const { app } = following
  await app.query(`insert into t values (1, '5')`)
  await following.expectEqual()
  await app.query(`alter table t alter a type int using a::int`)
  // On a busy machine a slice may end before it comes to the place where the catalog was read.
  await expect
    .poll(
      async () => {
        expect((await following.slice({ ms: 300 })).reason).toBe('time')
        return await warnings(following)
      },
      { timeout: 30_000 },
    )
    .toEqual([expect.stringMatching(/public\.t was changed .*from text to integer/)])
  await expect(following.catchUp()).rejects.toMatchObject({ code: 'SchemaChanged' })
  await using target = await pair.target.connect('told_early')
  await target.query(`alter table t alter a type int using a::int`)
  await following.expectEqual()
  await app.query('insert into t values (2, 6)')
  await following.expectEqual()
})

async function warnings({ context }: Following): Promise<string[]> {
  return (await readDatabaseStatus(context.documents, context.key, context.database)).warnings
}
