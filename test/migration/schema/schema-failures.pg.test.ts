import { afterAll, beforeAll, expect, test } from 'vitest'
import { createControlSchema } from '../../../migration/control/control-schema.ts'
import { applyPostData, planPostData } from '../../../migration/schema/apply-post-data.ts'
import { applyPreData } from '../../../migration/schema/apply-pre-data.ts'
import { createTargetDatabase } from '../../../migration/schema/create-database.ts'
import { createSourceDatabase, createTestMigration, TARGET_USER, type ServerPair } from '../../support/servers.ts'
import { migrateSchema, startPairWithRoles } from './schema-test.ts'

/** A machine may be busy: ms. */
const PATIENCE = { timeout: 30_000 }

let pair: ServerPair

beforeAll(async () => {
  pair = await startPairWithRoles(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

async function onTarget(database: string, sql: string): Promise<Record<string, unknown>[]> {
  await using admin = await pair.target.connect(database)
  return (await admin.query<Record<string, unknown>>(sql)).rows
}

async function onSource(database: string, sql: string): Promise<void> {
  await using admin = await pair.source.connect(database)
  await admin.query(sql)
}

test('an extension that the target does not have is named, and the rest of the schema is there', async () => {
  await createSourceDatabase(pair, 'extended', 'create table t ()')
  await onSource('extended', 'create extension adminpack')
  await using migration = await createTestMigration(pair, 'extended')
  await createTargetDatabase(migration.context)
  const failure = {
    code: 'SchemaFailed',
    message: expect.stringMatching(/EXTENSION adminpack: .*not available/) as string,
    hint: expect.stringContaining('azure.extensions') as string,
  }
  await expect(applyPreData(migration.context)).rejects.toMatchObject(failure)
  await expect(applyPreData(migration.context)).rejects.toMatchObject(failure)
  expect(await onTarget('extended', `select from pg_class where relname = 't'`)).toHaveLength(1)
})

test('a trusted extension is made, with what needs its types', async () => {
  await createSourceDatabase(pair, 'trusted', '')
  await onSource('trusted', 'create extension hstore; set role app; create table t (h hstore, c text)')
  await using migration = await createTestMigration(pair, 'trusted')
  expect(await migrateSchema(migration.context)).toEqual({ warnings: [], failed: [] })
})

test('objects of roles that the target does not have stay ours, and each role is told once', async () => {
  await createSourceDatabase(
    pair,
    'orphans',
    'create table a (); create table b (); create function f() returns int language sql as $$select 1$$',
  )
  await onSource(
    'orphans',
    'alter table a owner to only_on_source; alter function f() owner to only_on_source; grant only_on_source to migrator',
  )
  await using migration = await createTestMigration(pair, 'orphans')
  const { warnings } = await migrateSchema(migration.context)
  expect(warnings).toEqual([
    '2 objects keep the migrating role as their owner: role "only_on_source" does not exist on the target.',
  ])
  expect(
    await onTarget(
      'orphans',
      `select relname, pg_get_userbyid(relowner) as owner from pg_class where relname in ('a', 'b') order by 1`,
    ),
  ).toEqual([
    { relname: 'a', owner: TARGET_USER },
    { relname: 'b', owner: 'app' },
  ])
})

test('a role that is not ours to act for does not get objects, so that we are not shut out of them', async () => {
  await createSourceDatabase(pair, 'foreign', 'create table t ()')
  await onSource('foreign', 'alter table t owner to postgres')
  await onSource('foreign', 'grant select on t to migrator')
  await using migration = await createTestMigration(pair, 'foreign')
  const { warnings } = await migrateSchema(migration.context)
  expect(warnings).toContainEqual(expect.stringContaining('is not a full member of role "postgres"'))
})

test('an owner without CREATE on the schema gets its table, and no right that lasts', async () => {
  await createSourceDatabase(pair, 'strict', 'create schema s; create table s.t ()')
  await onSource('strict', 'grant usage on schema s to clerk; alter table s.t owner to clerk; grant clerk to migrator')
  await using migration = await createTestMigration(pair, 'strict')
  expect(await migrateSchema(migration.context)).toEqual({ warnings: [], failed: [] })
  expect(
    await onTarget(
      'strict',
      `select pg_get_userbyid(relowner) as owner, has_schema_privilege('clerk', 's', 'create') as may_create
         from pg_class where relname = 't'`,
    ),
  ).toEqual([{ owner: 'clerk', may_create: false }])
})

test('a grant that somebody else than the owner has given keeps its giver', async () => {
  await createSourceDatabase(pair, 'given', 'create table t (); grant select on t to clerk with grant option')
  await onSource('given', 'set role clerk; grant select on t to reader')
  await using migration = await createTestMigration(pair, 'given')
  expect(await migrateSchema(migration.context)).toEqual({ warnings: [], failed: [] })
  expect(await onTarget('given', `select relacl::text as acl from pg_class where relname = 't'`)).toEqual([
    { acl: expect.stringContaining('reader=r/clerk') as string },
  ])
})

test('tables that are left out are not made, nor what cannot be without them', async () => {
  await createSourceDatabase(
    pair,
    'partly',
    `create table kept (id int primary key); create table log_1 (id int primary key, k int references kept); create table log_2 (id serial);
     create table points (id int references log_1); create view v as select * from log_1; create view w as select * from v;
     create index on log_1 (k); grant select on log_1 to reader; create table log_3 (id int); comment on table log_3 is 'x'`,
  )
  await using migration = await createTestMigration(pair, 'partly', { pgflex: { excludeTables: ['public.log_*'] } })
  expect(await migrateSchema(migration.context)).toEqual({
    warnings: [
      'VIEW public.v: needs public.log_1, which is left out',
      'VIEW public.w: needs public.v, which is left out',
    ],
    failed: [],
  })
  expect(
    await onTarget(
      'partly',
      `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'i') order by 1`,
    ),
  ).toEqual([{ relname: 'kept' }, { relname: 'kept_pkey' }, { relname: 'points' }])
})

test('an index that cannot be built is named, the others are there, and it is not tried again', async () => {
  await createSourceDatabase(
    pair,
    'duplicates',
    'create table t (id int primary key, x int); create index t_x on t (x)',
  )
  await using migration = await createTestMigration(pair, 'duplicates')
  const { context } = migration
  await createTargetDatabase(context)
  await applyPreData(context)
  await onTarget('duplicates', 'insert into t values (1), (1)')
  await planPostData(context)
  const first = await applyPostData(context, 'load')
  expect(first.failed).toEqual([
    {
      kind: 'INDEX',
      object: 'INDEX t_pkey on public.t',
      message: expect.stringMatching(/duplicate|could not create unique index/) as string,
    },
    {
      kind: 'CONSTRAINT',
      object: 'CONSTRAINT t_pkey on public.t',
      message: expect.stringContaining('does not exist') as string,
    },
  ])
  expect(await onTarget('duplicates', `select from pg_class where relname = 't_x'`)).toHaveLength(1)
  await onTarget('duplicates', 'truncate t')
  expect(await applyPostData(context, 'load')).toEqual(first)
})

test('a host that stops leaves the index that it was at, and another one builds it', async () => {
  await createSourceDatabase(pair, 'stopped', 'create table t (id int primary key, x int); create index t_x on t (x)')
  await using migration = await createTestMigration(pair, 'stopped')
  await createTargetDatabase(migration.context)
  await applyPreData(migration.context)
  await planPostData(migration.context)
  await using admin = await pair.target.connect('stopped')
  await admin.query('begin; lock table t in access exclusive mode')
  const result = applyPostData(migration.context, 'load')
  await using watcher = await pair.target.connect()
  await expect
    .poll(async () => {
      const { rowCount } = await watcher.query(
        `select from pg_stat_activity where datname = 'stopped' and wait_event_type = 'Lock'`,
      )
      return rowCount
    }, PATIENCE)
    .toBeGreaterThan(0)
  migration.drain()
  expect(await result).toMatchObject({ failed: [] })
  await admin.query('rollback')
  await using again = await createTestMigration(pair, 'stopped')
  expect(await applyPostData(again.context, 'load')).toMatchObject({ applied: 3, failed: [] })
})

test('what a former copy has left running is ended before the next one begins', async () => {
  await createSourceDatabase(pair, 'zombie', 'create table t (id int primary key)')
  await using migration = await createTestMigration(pair, 'zombie')
  await createTargetDatabase(migration.context)
  {
    await using target = await migration.context.target('control')
    await createControlSchema(target, migration.context.key)
  }
  await using zombie = await migration.context.target('schema statements')
  await zombie.query('begin; create table public.t ()')
  expect(await applyPreData(migration.context)).toMatchObject({ failed: 0 })
  await expect(zombie.query('commit')).rejects.toThrow(/terminat|connection error/)
})
