import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Connection } from '../../../migration/connect.ts'
import { databaseContext, serverContext } from '../../../migration/context.ts'
import { controlSchemaOwner } from '../../../migration/control/control-schema.ts'
import { cutoverDatabase } from '../../../migration/cutover/cutover-database.ts'
import { endDatabase } from '../../../migration/cutover/end-database.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { loadLargeObjects } from '../../../migration/load/large-objects.ts'
import { planDatabaseLoad } from '../../../migration/load/plan-database-load.ts'
import { createSlot } from '../../../migration/replicate/create-slot.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import { buildIndexes } from '../../../migration/schema/build-indexes.ts'
import { prepareDatabase } from '../../../migration/schema/prepare-database.ts'
import { readDatabaseStatus, readEvents, updateRecord } from '../../../migration/store/migrations.ts'
import {
  createSourceDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
  type TestMigration,
  type TestMigrationOptions,
} from '../../support/servers.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const TABLES = `
  create table t (id serial primary key, v int not null);
  insert into t (v) select n from generate_series(1, 500) as n;
  create table other (id bigint generated always as identity primary key, v int);
  insert into other (v) select n from generate_series(1, 500) as n;`

/** Brings a database to where it follows and has been asked to cut over. */
async function followed(
  database: string,
  options: TestMigrationOptions = {},
  spoil?: (target: Connection) => Promise<void>,
): Promise<TestMigration> {
  await createSourceDatabase(pair, database, TABLES)
  const migration = await createTestMigration(pair, database, { key: `m-${database}`, ...options })
  const { context } = migration
  await prepareDatabase(context)
  await createSlot(context)
  await planDatabaseLoad(context)
  expect(await copyTables(context, { worker: 0 })).toMatchObject({ errored: 0, remaining: 0 })
  if (spoil) {
    await using target = await context.target('spoil')
    await spoil(target)
  }
  await buildIndexes(context)
  await askForCutover(migration)
  expect(await follow(context)).toEqual({ next: 'cutover' })
  return migration
}

async function askForCutover({ context }: TestMigration, force = false): Promise<void> {
  await updateRecord(context.documents, context.key, (record) => ({
    ...record,
    requests: { ...record.requests, cutover: { [context.database]: { at: new Date().toISOString(), force } } },
  }))
}

async function onSource(database: string, sql: string): Promise<unknown[]> {
  await using admin = await pair.source.connect(database)
  return (await admin.query(sql)).rows
}

async function onTarget(database: string, sql: string): Promise<unknown[]> {
  await using admin = await pair.target.connect(database)
  return (await admin.query(sql)).rows
}

async function status({ context }: TestMigration) {
  return await readDatabaseStatus(context.documents, context.key, context.database)
}

const READ_ONLY = `select 1 as frozen from pg_db_role_setting, unnest(setconfig) as c where c = 'default_transaction_read_only=on'`

test('after a cutover the source is read-only, and the target has sequences and identity as the source', async () => {
  await using migration = await followed('whole')
  await onSource('whole', 'update other set v = v + 1')
  expect(await cutoverDatabase(migration.context)).toEqual({ next: 'finished' })
  await endDatabase(migration.context, { state: 'Succeeded' })
  expect(await onSource('whole', READ_ONLY)).toHaveLength(1)
  expect(await onTarget('whole', 'select sum(v)::int from other')).toEqual([{ sum: 125_750 }])
  expect(await onTarget('whole', `insert into t (v) values (1) returning id`)).toEqual([{ id: 501 }])
  expect(
    await onTarget(
      'whole',
      `select attidentity from pg_attribute where attrelid = 'other'::regclass and attname = 'id'`,
    ),
  ).toEqual([{ attidentity: 'a' }])
  await onSource('postgres', 'alter database whole reset default_transaction_read_only')
})

test('large objects that changed while the database was followed are on the target after the cutover', async () => {
  await using migration = await followed('objects')
  await onSource('objects', `set role app; select lo_from_bytea(20001, 'one'), lo_from_bytea(20002, 'two')`)
  expect(await loadLargeObjects(migration.context)).toEqual({ finished: true })
  await onSource('objects', `set role app; select lo_unlink(20001), lo_put(20002, 0, 'T'), lo_from_bytea(20003, 'new')`)
  expect(await cutoverDatabase(migration.context)).toEqual({ next: 'finished' })
  expect(
    await onTarget('objects', `select oid, convert_from(lo_get(oid), 'UTF8') as text from pg_largeobject_metadata`),
  ).toEqual([
    { oid: 20002, text: 'Two' },
    { oid: 20003, text: 'new' },
  ])
  await endDatabase(migration.context, { state: 'Succeeded' })
  await onSource('postgres', 'alter database objects reset default_transaction_read_only')
})

test('a large object that may not be read calls the cutover off, and says which one and what to do', async () => {
  await using migration = await followed('secret')
  await onSource('secret', `select lo_from_bytea(20001, 'of a superuser')`)
  expect(await cutoverDatabase(migration.context)).toEqual({ next: 'slice' })
  expect(await onSource('secret', READ_ONLY)).toEqual([])
  expect((await status(migration)).message).toMatch(/may not read large object 20001/)
  const events = await readEvents(migration.context.documents, migration.context.key)
  expect(events.at(-1)?.message).toMatch(/grant select on large object 20001 to "migrator";/)
  await onSource('secret', 'grant select on large object 20001 to migrator')
  await askForCutover(migration)
  expect(await cutoverDatabase(migration.context)).toEqual({ next: 'finished' })
  expect(await onTarget('secret', 'select oid from pg_largeobject_metadata')).toEqual([{ oid: 20001 }])
  await endDatabase(migration.context, { state: 'Succeeded' })
  await onSource('postgres', 'alter database secret reset default_transaction_read_only')
})

test('tables that are chosen by name bring their sequences', async () => {
  await using migration = await followed('chosen', { pgflex: { includeTables: ['public.t'] } })
  expect(await cutoverDatabase(migration.context)).toEqual({ next: 'finished' })
  await endDatabase(migration.context, { state: 'Succeeded' })
  expect(await onTarget('chosen', `insert into t (v) values (1) returning id`)).toEqual([{ id: 501 }])
  await onSource('postgres', 'alter database chosen reset default_transaction_read_only')
})

test('a target that goes away while the source is frozen ends the attempt: writes are let in at once, and the next attempt trusts nothing of it', async () => {
  await using migration = await followed('away')
  {
    // The comparison waits for this lock: the source is frozen meanwhile.
    await using blocker = await pair.target.connect('away')
    await blocker.query('begin; lock table t in access exclusive mode')
    const cutover = cutoverDatabase(migration.context)
    await expect.poll(async () => (await onSource('away', READ_ONLY)).length).toBe(1)
    await expect
      .poll(async () => (await status(migration)).cutover?.steps.some(({ name }) => name === 'sequences'), {
        timeout: 20_000,
      })
      .toBe(true)
    await pair.target.kill()
    await expect(cutover).resolves.toEqual({ next: 'slice' })
  }
  expect(await onSource('away', READ_ONLY)).toEqual([])
  expect(await status(migration)).toMatchObject({ message: expect.stringContaining('called off') })
  expect((await status(migration)).freeze).toBeUndefined()
  await onSource('away', 'update t set v = v + 1000')
  await pair.target.start()
  await askForCutover(migration)
  expect(await follow(migration.context)).toEqual({ next: 'cutover' })
  expect(await cutoverDatabase(migration.context)).toEqual({ next: 'finished' })
  await endDatabase(migration.context, { state: 'Succeeded' })
  expect(await onTarget('away', 'select sum(v)::int from t')).toEqual([{ sum: 125_250 + 500_000 }])
  await onSource('postgres', 'alter database away reset default_transaction_read_only')
})

test('a cancelled cutover ends soon, also in the middle of a comparison, and the source is writable again', async () => {
  await using migration = await followed('cancelled')
  await using blocker = await pair.target.connect('cancelled')
  await blocker.query('begin; lock table t in access exclusive mode')
  const cutover = cutoverDatabase(migration.context)
  await expect
    .poll(async () => (await status(migration)).cutover?.steps.some(({ name }) => name === 'sequences'), {
      timeout: 20_000,
    })
    .toBe(true)
  migration.drain()
  await expect(cutover).rejects.toThrow(/abort|terminat|not queryable/i)
  await blocker.query('rollback')
  const fresh = databaseContext(
    await serverContext({ ...migration.surroundings, draining: new AbortController().signal }, migration.context.key),
    'cancelled',
  )
  await endDatabase(fresh, { state: 'Canceled' })
  expect(await onSource('cancelled', READ_ONLY)).toEqual([])
})

test('writes that go on after they were meant to have stopped call the cutover off', async () => {
  await using migration = await followed('manual', { pgflex: { writeFreeze: 'Manual', verify: 'None' } })
  await using application = await pair.source.connect('manual')
  await application.query(`set application_name = 'night batch'`)
  let writing = true
  const writer = (async () => {
    while (writing) await application.query('update t set v = v + 1 where id = 1')
  })()
  const result = await cutoverDatabase(migration.context)
  writing = false
  await writer
  expect(result).toEqual({ next: 'slice' })
  expect((await status(migration)).message).toMatch(
    /rows were changed on the source after .*Connected there now: postgres night batch \(pid \d+\)/,
  )
  await endDatabase(migration.context, { state: 'Canceled' })
})

test('a cutover is refused while an index is missing that could not be built, and goes on once it can or by force', async () => {
  for (const way of ['mended', 'forced', 'handmade']) {
    await using migration = await followed(way, {}, async (target) => {
      // As a source with a broken unique index has them.
      await target.query('update public.t set id = 7 where id = 8')
    })
    const { context } = migration
    const object = 'INDEX t_pkey on public.t'
    expect((await status(migration)).warnings).toContainEqual(expect.stringContaining(`${object} could not be made`))
    expect(await cutoverDatabase(context)).toEqual({ next: 'slice' })
    const refused = await status(migration)
    expect(refused.migrationState).toBe('WaitingForCutoverTrigger')
    expect(refused.cutover).toBeUndefined()
    expect(refused.message).toMatch(/INDEX t_pkey on public\.t: .*is duplicated.* cut over with force/s)
    expect(await onSource(way, READ_ONLY)).toHaveLength(0)

    if (way !== 'forced') await onTarget(way, 'update t set id = 8 where v = 8')
    if (way === 'handmade') await onTarget(way, 'alter table t add constraint t_pkey primary key (id)')
    await askForCutover(migration, way === 'forced')
    expect(await follow(context)).toEqual({ next: 'cutover' })
    const again = databaseContext(await serverContext(migration.surroundings, context.key), context.database)
    expect(await cutoverDatabase(again)).toEqual({ next: 'finished' })
    expect((await status(migration)).warnings.join().includes('t_pkey')).toBe(way === 'forced')
    expect(await onTarget(way, `select contype from pg_constraint where conname = 't_pkey'`)).toEqual(
      way === 'forced' ? [] : [{ contype: 'p' }],
    )
    await onSource('postgres', `alter database "${way}" reset default_transaction_read_only`)
    await endDatabase(context, { state: 'Succeeded' })
  }
})

test('a migration that fails on the target database of another one leaves that one alone', async () => {
  await using first = await followed('shared')
  await using second = await createTestMigration(pair, 'shared', { key: 'm-second' })
  await expect(prepareDatabase(second.context)).rejects.toMatchObject({ code: 'ControlSchemaTaken' })
  await endDatabase(second.context, { state: 'Failed', message: 'The target belongs to another migration.' })
  {
    await using target = await first.context.target('test')
    expect(await controlSchemaOwner(target)).toBe(first.context.key)
  }
  expect(await cutoverDatabase(first.context)).toEqual({ next: 'finished' })
  await endDatabase(first.context, { state: 'Succeeded' })
  expect((await readEvents(first.context.documents, first.context.key)).map(({ event }) => event)).toContain('CutOver')
  await onSource('postgres', 'alter database shared reset default_transaction_read_only')
})
