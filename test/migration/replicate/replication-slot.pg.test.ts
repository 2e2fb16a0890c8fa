import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createControlSchema } from '../../../migration/control/control-schema.ts'
import type { DatabaseContext } from '../../../migration/context.ts'
import {
  createPublicationAndSlot,
  dropPublicationAndSlot,
  readSlot,
} from '../../../migration/replicate/replication-slot.ts'
import { openReplicationStream } from '../../../migration/replicate/replication-stream.ts'
import { parseLsn } from '../../../migration/lsn.ts'
import { readDatabaseStatus } from '../../../migration/store/migrations.ts'
import {
  APP_USER,
  createSourceDatabase,
  createTargetDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
  type TestMigration,
  type TestMigrationOptions,
} from '../../support/servers.ts'

async function prepare(
  pair: ServerPair,
  database: string,
  ddl: string,
  options: TestMigrationOptions = {},
): Promise<TestMigration> {
  await createSourceDatabase(pair, database, ddl)
  await createTargetDatabase(pair, database)
  const migration = await createTestMigration(pair, database, { key: `slot-${database}`, ...options })
  await using target = await migration.context.target('test')
  await createControlSchema(target, migration.context.key)
  return migration
}

async function published(pair: ServerPair, database: string): Promise<string[]> {
  await using admin = await pair.source.connect(database)
  const { rows } = await admin.query<{ text: string }>(
    `select (pubname like '%_inserts') || ' ' || schemaname || '.' || tablename as text from pg_publication_tables order by 1`,
  )
  return rows.map(({ text }) => text)
}

async function state(context: DatabaseContext, slot: string): ReturnType<typeof readSlot> {
  await using source = await context.source('test')
  return await readSlot(source, slot)
}

describe.each([
  [13, 17],
  [18, 18],
])('PostgreSQL %i to %i', (sourceMajor, targetMajor) => {
  let pair: ServerPair

  beforeAll(async () => {
    pair = await startServerPair(sourceMajor, targetMajor)
  })

  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]()
  })

  test('tables are listed one by one, and those without identity in a publication of their own', async () => {
    await using migration = await prepare(
      pair,
      'listed',
      `create table plain (id int primary key);
       create table no_key (v text);
       create table nothing (id int primary key); alter table nothing replica identity nothing;
       create table full_row (v text); alter table full_row replica identity full;
       create table late_key (id int primary key deferrable);
       create table by_index (a int not null unique); alter table by_index replica identity using index by_index_a_key;
       create table parts (id int primary key) partition by range (id);
       create table parts_1 partition of parts for values from (0) to (10);
       create table excluded (id int primary key);
       create unlogged table unlogged (id int primary key);
       create table parent (id int primary key); create table child (primary key (id)) inherits (parent);
       create table generated (id int, twice int generated always as (id * 2) stored); alter table generated replica identity full`,
      { pgflex: { excludeTables: ['public.excl*'] } },
    )
    const { slot } = await createPublicationAndSlot(migration.context)
    expect(await published(pair, 'listed')).toEqual([
      'false public.by_index',
      'false public.child',
      'false public.full_row',
      ...(sourceMajor < 18 ? ['false public.generated'] : []),
      'false public.parent',
      'false public.parts_1',
      'false public.plain',
      ...(sourceMajor < 18 ? [] : ['true public.generated']),
      'true public.late_key',
      'true public.no_key',
      'true public.nothing',
    ])
    // The application goes on as before.
    await using app = await pair.source.connect('listed')
    await app.query(`set role ${APP_USER}`)
    for (const table of ['plain', 'nothing', 'late_key', 'parts', 'generated']) {
      await app.query(`insert into ${table} values (1); update ${table} set id = 2; delete from ${table}`)
    }
    await app.query(`insert into no_key values ('a'); update no_key set v = 'b'; delete from no_key`)
    const { warnings } = await readDatabaseStatus(migration.context.documents, migration.context.key, 'listed')
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toMatch(/late_key.*no_key.*nothing/)
    expect(await state(migration.context, slot)).toMatchObject({ active: false, walStatus: 'reserved' })
  })

  test('made twice, it is made once; dropped twice, it is gone', async () => {
    await using migration = await prepare(pair, 'twice', 'create table t (id int primary key)')
    const first = await createPublicationAndSlot(migration.context)
    expect(await createPublicationAndSlot(migration.context)).toEqual(first)
    expect((await state(migration.context, first.slot))?.confirmedFlushLsn).toBe(parseLsn(first.startLsn))
    {
      await using source = await migration.context.source('test')
      // Even while one of ours reads it.
      await using _stream = await openReplicationStream(migration.context, {
        slot: first.slot,
        publications: [first.publication],
        startLsn: parseLsn(first.startLsn),
        source,
      })
      expect(await state(migration.context, first.slot)).toMatchObject({ active: true })
      await dropPublicationAndSlot(migration.context)
    }
    await dropPublicationAndSlot(migration.context)
    expect(await state(migration.context, first.slot)).toBeUndefined()
    expect(await published(pair, 'twice')).toEqual([])
  })

  test('a slot that no progress row knows is made anew, a slot that is gone is never replaced', async () => {
    await using migration = await prepare(pair, 'again', 'create table t (id int primary key)')
    const first = await createPublicationAndSlot(migration.context)
    await using target = await migration.context.target('test')
    await target.query('delete from pgflex.progress')
    {
      await using app = await pair.source.connect('again')
      await app.query('create table more (id int primary key)')
      await app.query(`alter table more owner to ${APP_USER}`)
    }
    const second = await createPublicationAndSlot(migration.context)
    expect(parseLsn(second.startLsn)).toBeGreaterThan(parseLsn(first.startLsn))
    expect(await published(pair, 'again')).toEqual(['false public.more', 'false public.t'])
    {
      await using source = await migration.context.source('test')
      await source.query('select pg_drop_replication_slot($1)', [second.slot])
    }
    await expect(createPublicationAndSlot(migration.context)).rejects.toMatchObject({
      code: 'SlotLost',
      retryable: false,
    })
  })

  test('two copies at once make one slot', async () => {
    await using migration = await prepare(pair, 'two', 'create table t (id int primary key)')
    const results = await Promise.allSettled([
      createPublicationAndSlot(migration.context),
      createPublicationAndSlot(migration.context),
    ])
    const made = results.filter((result) => result.status === 'fulfilled')
    const refused = results.filter((result) => result.status === 'rejected')
    expect(made.length).toBeGreaterThan(0)
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'Busy', retryable: true })
    expect(new Set(made.map(({ value }) => value.startLsn)).size).toBe(1)
  })

  test('a table of another owner is refused with what to grant', async () => {
    await using migration = await prepare(pair, 'denied', 'create table t (id int primary key)')
    {
      await using admin = await pair.source.connect('denied')
      await admin.query('create table of_another (id int primary key)')
    }
    await expect(createPublicationAndSlot(migration.context)).rejects.toMatchObject({
      code: 'PublicationDenied',
      message: expect.stringContaining('of_another'),
      hint: expect.stringContaining('Grant'),
    })
  })
})
