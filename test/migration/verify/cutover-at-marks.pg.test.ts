import { afterAll, beforeAll, expect, test } from 'vitest'
import { databaseContext, serverContext, type DatabaseContext } from '../../../migration/context.ts'
import { cutoverDatabase } from '../../../migration/cutover/cutover-database.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planDatabaseLoad } from '../../../migration/load/plan-database-load.ts'
import { createSlot } from '../../../migration/replicate/create-slot.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import { buildIndexes } from '../../../migration/schema/build-indexes.ts'
import { prepareDatabase } from '../../../migration/schema/prepare-database.ts'
import { updateRecord } from '../../../migration/store/migrations.ts'
import { createSourceDatabase, createTestMigration, startServerPair, type ServerPair } from '../../support/servers.ts'
import { comparedInBackground, onTarget, statusOf } from './background.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

const TABLES = `
  create table t (id serial primary key, note text);
  insert into t (note) select 'n ' || n from generate_series(1, 3000) as n;
  create table other (id bigint generated always as identity primary key, v int);
  insert into other (v) select n from generate_series(1, 500) as n;
  create table late (id int primary key, t_id int references t)`

async function cutOver(context: DatabaseContext): Promise<'finished' | 'slice'> {
  await updateRecord(context.documents, context.key, (record) => ({
    ...record,
    requests: { ...record.requests, cutover: { [context.database]: { at: new Date().toISOString(), force: true } } },
  }))
  expect(await follow(context)).toEqual({ next: 'cutover' })
  const current = databaseContext(await serverContext(context, context.key), context.database)
  return (await cutoverDatabase(current)).next
}

test('a cutover compares the marked rows, is called off for one that was spoiled, and passes when it is mended', async () => {
  await createSourceDatabase(pair, 'shop', TABLES)
  await using migration = await createTestMigration(pair, 'shop', { pgflex: { verify: 'Checksums' } })
  const { context } = migration
  await prepareDatabase(context)
  await createSlot(context)
  await planDatabaseLoad(context)
  expect(await copyTables(context, { worker: 0 })).toMatchObject({ errored: 0, remaining: 0 })
  await buildIndexes(context)
  expect(await comparedInBackground(migration)).toMatchObject({ tables: 3, tablesCompared: 3 })

  await onTarget(
    migration,
    `create function public.spoil() returns trigger language plpgsql as $$ begin new.note := 'spoiled'; return new; end $$;
     create trigger spoil before update on public.t for each row when (new.id = 77) execute function public.spoil();
     alter table public.t enable always trigger spoil`,
  )
  await using app = await pair.source.connect('shop')
  await app.query(`update t set note = 'changed' where id in (77, 2000); insert into late values (1, 77)`)
  expect(await cutOver(context)).toBe('slice')
  expect((await statusOf(migration)).verification).toMatchObject({
    result: 'Different',
    differences: [{ table: 'public.t', rows: [{ key: { id: '77' } }] }],
  })
  expect((await statusOf(migration)).message).toContain('writes are let in again')

  await onTarget(migration, `drop function public.spoil cascade; update public.t set note = 'changed' where id = 77`)
  await app.query('update other set v = 0 where id = 5')
  expect(await cutOver(context)).toBe('finished')
  const { verification, cutover } = await statusOf(migration)
  expect(verification).toMatchObject({
    result: 'Equal',
    tables: 3,
    rows: 4,
    atMarks: { tables: 3, rows: 4 },
    whole: { tables: 0, rows: 0 },
  })
  expect(cutover!.steps.find(({ name }) => name === 'compare')!.message).toBe(
    'Of 3 tables that had been compared before, the 4 rows changed since.',
  )
})
