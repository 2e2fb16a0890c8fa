import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { follow } from '../../../migration/replicate/follow.ts'
import { carryNewSequences } from '../../../migration/replicate/new-tables/carry-new-sequences.ts'
import { findUnfollowedTables } from '../../../migration/replicate/unfollowed-tables.ts'
import { readDatabaseStatus, readEvents } from '../../../migration/store/migrations.ts'
import { APP_USER, startServerPair, type ServerPair } from '../../support/servers.ts'
import { startFollowing, type Following } from './following.ts'

describe.each([[15, 17]])('PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test('tables that are made while following are taken along with their rows, keys, sequences and later changes', async () => {
    await using following = await startFollowing(pair, 'made', {
      ddl: `create table t (id int primary key);
            create table m (at date primary key) partition by range (at);
            create table m_1 partition of m for values from ('2024-01-01') to ('2025-01-01')`,
      pgflex: { excludeTables: ['public.scratch*'] },
    })
    const { app } = following
    await app.query('insert into t values (1)')
    await app.query(`create table a (id bigint generated always as identity primary key, v text unique, t int references t); create index on a (t);
      create table keyless (v text); create table scratch_1 (id int); create unlogged table cache (id int primary key);
      create table m_2 partition of m for values from ('2025-01-01') to ('2026-01-01');
      create table p (id serial, at date, primary key (id, at)) partition by range (at);
      create table p_1 partition of p for values from ('2024-01-01') to ('2025-01-01');
      insert into a (v, t) values ('one', 1), ('two', null); insert into keyless values ('x'); insert into m values ('2025-05-05'), ('2024-05-05');
      insert into p (at) values ('2024-02-02'); insert into cache values (1)`)
    await app.query(`insert into t values (2); update a set v = 'changed' where id = 1`)
    await carry(following)
    await app.query(`insert into a (v) values ('three'); update a set v = 'again' where id = 1; delete from a where id = 2; insert into keyless values ('y');
      update m set at = at + 1; insert into p (at) values ('2024-03-03'); delete from p where id = 1; insert into t values (3)`)
    await expectEqualBut(following, ['scratch_1'])
    expect(await findUnfollowedTables(following.context)).toEqual({ added: [], dropped: [] })
    expect(
      await following.onTarget(
        `select string_agg(indexname, ' ' order by indexname) from pg_indexes where tablename in ('a', 'p_1')`,
      ),
    ).toBe('a_pkey a_t_idx a_v_key p_1_pkey')
    expect(
      await following.onTarget(`select string_agg(kind, ' ') from pgflex.statement where state = 'pending'`),
    ).toMatch(/FK CONSTRAINT/)
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
    const { documents, key, database } = following.context
    expect(
      (await readDatabaseStatus(documents, key, database)).warnings.filter((text) =>
        /not followed|not applied|taken along/.test(text),
      ),
    ).toEqual([])
    expect((await readEvents(documents, key)).filter(({ event }) => event === 'TableCarried')).toHaveLength(5)
    // Their definitions are followed too.
    await app.query(
      `alter table a add w int default 7; insert into a (v) values ('four'); alter table p add w int; insert into p (at, w) values ('2024-04-04', 1)`,
    )
    await expectEqualBut(following, ['scratch_1'])
  })

  test('a partition that is made or attached while following has the foreign keys of its table among what waits', async () => {
    await using following = await startFollowing(pair, 'parts', {
      ddl: `create table t (id int primary key);
            create table m (at date, t int) partition by range (at);
            create table m_1 partition of m for values from ('2024-01-01') to ('2025-01-01');
            create table lone (at date, t int);
            alter table m_1 replica identity full; alter table lone replica identity full`,
      sourceDdl: 'alter table m add constraint to_t foreign key (t) references t',
    })
    const waiting = `select string_agg(distinct substring(sql from 'EXISTS "public"."(\\w+)"'), ' ')
                       from pgflex.statement where kind = 'FK CONSTRAINT' and state = 'pending'`
    await following.app.query(`create table m_2 partition of m for values from ('2025-01-01') to ('2026-01-01')`)
    await carry(following)
    expect(await following.onTarget(waiting)).toBe('m_1 m_2')
    await following.app.query(`alter table m attach partition lone for values from ('2026-01-01') to ('2027-01-01')`)
    await following.catchUp()
    await carry(following)
    expect(await following.onTarget(waiting)).toBe('lone m_1 m_2')
    expect(await following.onTarget(`select count(*) from pgflex.table_shape where shape ->> 'replan' = 'true'`)).toBe(
      '0',
    )
  })

  test('sequences that are made while following are made on the target, with the columns that they belong to', async () => {
    await using following = await startFollowing(pair, 'counted', {
      ddl: 'create table t (id int primary key, n int)',
      pgflex: { excludeTables: ['public.scratch'] },
    })
    const { app, context } = following
    await app.query(`create sequence alone increment 7 maxvalue 700 cycle; comment on sequence alone is 'seven';
      create sequence of_t; alter sequence of_t owned by t.n; create table scratch (id serial); select nextval('alone')`)
    await follow({ ...context, sliceMs: 100 })
    const sequences = `select string_agg(c.relname || ' ' || seqincrement || ' ' || seqmax || ' ' || seqcycle
                                           || ' ' || coalesce(obj_description(c.oid), '-')
                                           || ' ' || coalesce(pg_get_serial_sequence('public.t', 'n') = 'public.' || c.relname, false), '; ' order by c.relname)
                         from pg_sequence join pg_class as c on c.oid = seqrelid where c.relnamespace = 'public'::regnamespace`
    expect(await following.onTarget(sequences)).toBe(
      'alone 7 700 true seven false; of_t 1 9223372036854775807 false - true',
    )
    expect(
      (await readEvents(context.documents, context.key)).filter(({ event }) => event === 'SequencesCarried'),
    ).toEqual([
      expect.objectContaining({ message: expect.stringContaining('sequence public.alone, sequence public.of_t') }),
    ])
    await using source = await context.source('test')
    await using target = await context.target('test')
    expect(await carryNewSequences(context, source, target)).toBe(0)
  })

  test('a table waits for transactions that have written to it before it was published', async () => {
    await using following = await startFollowing(pair, 'open', { ddl: 'create table t (id int primary key)' })
    const { app } = following
    await app.query('create table a (id int primary key, v text)')
    await using writer = await pair.source.connect('open')
    await writer.query(`set role ${APP_USER}; begin; insert into a values (1, 'before')`)
    await follow({ ...following.context, sliceMs: 100 })
    expect(await following.onTarget(`select to_regclass('public.a')::text`)).toBeNull()
    await app.query(`insert into a values (2, 'meanwhile'); insert into t values (1)`)
    await following.catchUp()
    await writer.query(`insert into a values (3, 'after'); commit`)
    await carry(following)
    await app.query(`update a set v = v || '!'`)
    await following.expectEqual()
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })

  test('a table that is dropped on the target is copied anew, also where its change could not be carried over', async () => {
    await using following = await startFollowing(pair, 'anew', {
      ddl: 'create table t (id int primary key, a text); create table u (id int primary key)',
    })
    const { app } = following
    await app.query(`insert into t values (1, 'one'), (2, 'two')`)
    await following.expectEqual()
    await app.query(
      `alter table t drop a, add a text default random()::text, add b uuid default gen_random_uuid(); update t set a = 'x' where id = 1; insert into u values (1)`,
    )
    await expect(following.catchUp()).rejects.toMatchObject({
      code: 'SchemaChanged',
      hint: expect.stringContaining('drop table "public"."t"; on the target'),
    })
    await using target = await pair.target.connect('anew')
    await target.query('drop table t')
    await carry(following)
    await app.query(`insert into t values (3, 'three'); update t set b = null where id = 2`)
    await following.expectEqual()
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })

  test('a table that is written to all the time, also by transactions that are open meanwhile, arrives whole', async () => {
    await using following = await startFollowing(pair, 'busy', { ddl: 'create table t (id int primary key)' })
    await following.app.query('create table a (id int primary key, n int default 0); create table b (v text)')
    let writing = true
    const writers = [1, 2, 3].map(async (client) => {
      await using writer = await pair.source.connect('busy')
      await writer.query(`set role ${APP_USER}`)
      for (let i = client * 1_000_000; writing; i++) {
        await writer.query(
          `begin; insert into a values (${i}); insert into t values (${i}); insert into b values ('${i}')`,
        )
        await new Promise((resolve) => setTimeout(resolve, client * 20))
        await writer.query(
          `update a set n = n + 1 where id between ${i} - 3 and ${i}; delete from a where id = ${i} - 9; commit`,
        )
      }
    })
    await carry(following)
    await carry(following)
    writing = false
    await Promise.all(writers)
    expect(await following.onTarget(`select count(*) from pgflex.table_copy where state = 'completed'`)).toBe('3')
    await following.expectEqual()
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })

  test('broken off in the middle of the copy, it goes on; no slice begins before it is done', async () => {
    await using following = await startFollowing(pair, 'broken_off', { ddl: 'create table t (id int primary key)' })
    const { app } = following
    await app.query(
      `create table a (id int primary key, v text); insert into a select g, repeat('x', 200) from generate_series(1, 200000) g`,
    )
    await using target = await pair.target.connect('broken_off')
    const first = carry(following).catch((error: unknown) => error)
    await expect
      .poll(
        async () => (await target.query(`select state from pgflex.table_copy where table_name = 'a'`)).rows.length,
        { interval: 5, timeout: 30_000 },
      )
      .toBe(1)
    await target.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'pgflex %' and datname = 'broken_off'`,
    )
    await app.query(`insert into a values (0, 'meanwhile'); update a set v = 'y' where id = 5`)
    await first
    const { rows } = await target.query<{ state: string }>(`select state from pgflex.table_copy where table_name = 'a'`)
    const outcome = await following.slice({ ms: 100 }).then(
      () => 'followed',
      (error: { code: string }) => error.code,
    )
    expect(outcome).toBe(rows[0]!.state === 'completed' ? 'followed' : 'TablesNotCopied')
    await Promise.all([carry(following).catch(() => {}), carry(following).catch(() => {})])
    await carry(following)
    await following.expectEqual()
    expect(await following.onTarget(`select indexname from pg_indexes where tablename = 'a'`)).toBe('a_pkey')
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  })

  test('tables that are renamed, moved, dropped or made anew are copied under their names, and the old ones are kept and told', async () => {
    await using following = await startFollowing(pair, 'renamed', {
      ddl: `create table a (id int primary key); create table b (id int primary key); create table c (id int primary key); create table gone (id int primary key);
            create table m (at date primary key) partition by range (at); create index by_at on m (at)`,
    })
    const { app, context } = following
    await app.query(
      'insert into a values (1); insert into b values (1); insert into c values (1); insert into gone values (1)',
    )
    await following.catchUp()
    await app.query(`alter table a rename to "A new"; insert into "A new" values (2); create schema s; alter table b set schema s; insert into s.b values (2);
      drop table c; create table c (id int primary key, v text); insert into c values (5, 'five'); insert into gone values (2); drop table gone;
      create table odd partition of m for values from ('2024-01-01') to ('2025-01-01'); alter index odd_at_idx rename to "Odd"; insert into m values ('2024-02-02')`)
    await carry(following)
    await app.query(`insert into "A new" values (3); delete from s.b where id = 1`)
    await following.catchUp()
    expect(await following.onTarget('select array_agg(id order by id) from public."A new"')).toBe('{1,2,3}')
    expect(await following.onTarget('select array_agg(id order by id) from s.b')).toBe('{2}')
    expect(await following.onTarget('select array_agg(id order by id) from public.gone')).toBe('{1,2}')
    expect(
      await following.onTarget(
        `select string_agg(indexname, ' ' order by indexname) from pg_indexes where tablename = 'odd'`,
      ),
    ).toBe('Odd odd_pkey')
    expect(await findUnfollowedTables(context)).toEqual({
      added: ['public.c'],
      dropped: ['public.a', 'public.b', 'public.gone'],
    })
    await using target = await pair.target.connect('renamed')
    await target.query('drop table c, gone')
    await carry(following)
    await app.query(`update c set v = 'changed'; insert into c values (6, 'six')`)
    await following.catchUp()
    expect(await following.onTarget(`select string_agg(c::text, ' ' order by id) from public.c`)).toBe(
      '(5,changed) (6,six)',
    )
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
    // Definitions are followed under the new names.
    await app.query(
      `alter table "A new" add x int default 7; insert into "A new" values (4, 8); alter table c rename v to w; insert into c values (7, 'w')`,
    )
    await following.catchUp()
    expect(await following.onTarget('select string_agg(t::text, \' \' order by id) from public."A new" t')).toBe(
      '(1,7) (2,7) (3,7) (4,8)',
    )
    expect(await following.onTarget('select count(w) from public.c')).toBe('3')
  })

  test('tables that change their names with each other stop replication, and are copied anew', async () => {
    await using following = await startFollowing(pair, 'swapped', {
      ddl: 'create table a (id int primary key, v text); create table b (id int primary key, v text)',
    })
    const { app } = following
    await app.query(`insert into a values (1, 'a'); insert into b values (1, 'b')`)
    await following.catchUp()
    await app.query(
      `alter table a rename to tmp; alter table b rename to a; alter table tmp rename to b; insert into a values (2, 'b')`,
    )
    const refused = { code: 'SchemaChanged', message: expect.stringContaining('another table of the source') }
    await expect(following.catchUp()).rejects.toMatchObject(refused)
    await using target = await pair.target.connect('swapped')
    await target.query('drop table a, b')
    await carry(following)
    await app.query(`update a set v = v || '!'; insert into b values (2, 'a')`)
    await following.expectEqual()
  })

  test('a table that can not be made is told, and the others go on', async () => {
    await using following = await startFollowing(pair, 'not_made', { ddl: 'create table t (id int primary key)' })
    const { app, context } = following
    await app.query(`create type mood as enum ('good', 'bad'); create table moody (id int primary key, m mood); create table fine (id int primary key);
      insert into moody values (1, 'good'); insert into fine values (1); insert into t values (1)`)
    await carry(following)
    await expectEqualBut(following, ['moody'])
    const { warnings } = await readDatabaseStatus(context.documents, context.key, context.database)
    expect(warnings).toContainEqual(
      expect.stringMatching(
        /public\.moody could not be taken along so far: .*type "public\.mood" does not exist.*42704/,
      ),
    )
    expect((await findUnfollowedTables(context)).added).toEqual(['public.moody'])
    await using target = await pair.target.connect('not_made')
    await target.query(
      `create type mood as enum ('good', 'bad'); update pgflex.step set finished_at = finished_at - interval '1 h'`,
    )
    await carry(following)
    await app.query(`insert into moody values (2, 'bad')`)
    await following.expectEqual()
  })
})

/** One call of the activity: takes new tables along, and follows for a moment. */
async function carry(following: Following): Promise<void> {
  expect((await follow({ ...following.context, sliceMs: 100 })).next).not.toBe('cutover')
}

async function expectEqualBut(following: Following, tables: string[]): Promise<void> {
  await following.catchUp()
  await using source = await following.context.source('test')
  await using target = await following.context.target('test')
  const names = async (connection: typeof source): Promise<string[]> =>
    (
      await connection.query<{ name: string }>(
        `select relname as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1`,
      )
    ).rows.map(({ name }) => name)
  const expected = (await names(source)).filter((name) => !tables.includes(name))
  expect(await names(target)).toEqual(expected)
  for (const name of expected) {
    const rows = `select coalesce(string_agg(t::text, ' ' order by t::text), '') as rows from only public."${name}" t`
    expect([name, (await target.query(rows)).rows]).toEqual([name, (await source.query(rows)).rows])
  }
}
