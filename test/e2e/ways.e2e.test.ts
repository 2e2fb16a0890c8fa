import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  hasState,
  isWaitingForCutover,
  migrationBody,
  startMigrationHost,
  substate,
  type MigrationHost,
  type Resource,
} from '../support/migration-host.ts'
import { expectNothingLeft } from '../support/sample-migration.ts'
import {
  createSourceDatabase,
  createTargetDatabase,
  startServerPair,
  TARGET_USER,
  type ServerPair,
} from '../support/servers.ts'

let pair: ServerPair
let host: MigrationHost

const TABLES = `
  create table account (id int primary key, balance int not null);
  insert into account select n, 100 from generate_series(1, 1000) as n;
  create table entry (id bigint generated always as identity primary key, account int references account, note text);
  insert into entry (account, note) select n, repeat('x', n) from generate_series(1, 1000) as n;
  create sequence ticket start 42;
  create materialized view total as select sum(balance) as sum from account;`

beforeAll(async () => {
  pair = await startServerPair(15, 17)
  host = await startMigrationHost({ PGFLEX_SLICE_SECONDS: '5' })
})

afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
})

async function targetRows(database: string, query: string): Promise<unknown[]> {
  await using target = await pair.target.connect(database)
  return (await target.query(query)).rows
}

async function source(database: string, sql: string): Promise<void> {
  await using admin = await pair.source.connect(database)
  await admin.query(sql)
}

test('Offline copies one moment in time and ends by itself', async () => {
  await createSourceDatabase(pair, 'offline', TABLES)
  const { body } = await host.migration(
    'PUT',
    'offline',
    migrationBody(pair, ['offline'], { migrationMode: 'offline' }),
  )
  expect(body.properties['triggerCutover']).toBe('True')
  const ended = await host.waitFor('offline', 'it succeeds', hasState('Succeeded'))
  expect(ended.properties.currentStatus.currentSubStateDetails?.dbDetails['offline']?.migrationState).toBe('Succeeded')
  expect(await targetRows('offline', 'select count(*)::int, sum(balance)::int from account')).toEqual([
    { count: 1000, sum: 100_000 },
  ])
  expect(await targetRows('offline', 'select sum::int from total')).toEqual([{ sum: 100_000 }])
  expect(await targetRows('offline', `select last_value::int, is_called from ticket`)).toEqual([
    { last_value: 42, is_called: false },
  ])
  await expectNothingLeft(pair)
})

test('the option Validate touches nothing', async () => {
  await createSourceDatabase(pair, 'validated', TABLES)
  await host.migration('PUT', 'validated', migrationBody(pair, ['validated'], { migrationOption: 'Validate' }))
  const ended = await host.waitFor('validated', 'it succeeds', hasState('Succeeded'))
  expect(ended.properties.currentStatus.currentSubStateDetails?.validationDetails).toMatchObject({
    status: 'Succeeded',
  })
  await using target = await pair.target.connect()
  expect((await target.query(`select from pg_database where datname = 'validated'`)).rows).toEqual([])
})

test('a Cutover event of the orchestration has the effect of the PATCH, for one database at a time', async () => {
  for (const database of ['first', 'second']) await createSourceDatabase(pair, database, TABLES)
  await host.migration('PUT', 'events', migrationBody(pair, ['first', 'second']))
  await host.waitFor('events', 'both follow', isWaitingForCutover)
  const instances = await host.request<{ instanceId: string; name: string }[]>(
    'GET',
    '/runtime/webhooks/durabletask/instances?runtimeStatus=Running',
  )
  const instance = instances.body.find(
    ({ name, instanceId }) => name === 'migrateServer' && instanceId.includes('events'),
  )!

  const raise = (databases: string[]): Promise<{ status: number }> =>
    host.request('POST', `/runtime/webhooks/durabletask/instances/${instance.instanceId}/raiseEvent/Cutover`, {
      databases,
    })
  expect((await raise(['first'])).status).toBe(202)
  const isCutOver = (database: string) => (resource: Resource) =>
    resource.properties.currentStatus.currentSubStateDetails?.dbDetails[database]?.migrationState === 'Succeeded'
  const half = await host.waitFor('events', 'the first database is cut over', isCutOver('first'))
  expect(half.properties.currentStatus.currentSubStateDetails?.dbDetails['second']?.migrationState).toBe(
    'WaitingForCutoverTrigger',
  )

  await source('second', 'insert into account values (5000, 7)')
  expect((await raise(['second'])).status).toBe(202)
  await host.waitFor('events', 'it succeeds', hasState('Succeeded'))
  expect(await targetRows('second', 'select balance from account where id = 5000')).toEqual([{ balance: 7 }])
  await expectNothingLeft(pair)
})

test('a database that fails leaves the others alone', async () => {
  await createSourceDatabase(pair, 'sound', TABLES)
  await createSourceDatabase(pair, 'broken', TABLES)
  await using admin = await pair.source.connect('broken')
  // Not readable for us, in an option that does not validate.
  await admin.query('create table secret (id int primary key); alter table secret owner to postgres')
  await host.migration('PUT', 'partly', migrationBody(pair, ['sound', 'broken'], { migrationOption: 'Migrate' }))
  const failed = await host.waitFor('partly', 'the broken one failed', (resource) => {
    const details = resource.properties.currentStatus.currentSubStateDetails?.dbDetails
    return (
      details?.['broken']?.migrationState === 'Failed' &&
      details['sound']?.migrationState === 'WaitingForCutoverTrigger'
    )
  })
  expect(failed.properties.currentStatus.currentSubStateDetails?.dbDetails['broken']?.message).toMatch(/secret/)
  await host.migration('PATCH', 'partly', { properties: { triggerCutover: 'True', dbsToTriggerCutoverOn: ['sound'] } })
  const ended = await host.waitFor('partly', 'it ends', hasState('Failed'))
  expect(ended.properties.currentStatus.currentSubStateDetails?.dbDetails['sound']?.migrationState).toBe('Succeeded')
  expect(ended.properties.currentStatus.error).toMatch(/broken/)
  await expectNothingLeft(pair)
})

test('cancelling while it follows removes slot, publication, control schema and secrets, and lets writes be', async () => {
  await createSourceDatabase(pair, 'cancelled', TABLES)
  await host.migration('PUT', 'cancelled', migrationBody(pair, ['cancelled']))
  await host.waitFor('cancelled', 'it follows', isWaitingForCutover)
  expect((await host.migration('PATCH', 'cancelled', { properties: { cancel: 'True' } })).status).toBe(200)
  const ended = await host.waitFor('cancelled', 'it is cancelled', hasState('Canceled'))
  expect(substate(ended)).toBe('Completed')
  await expectNothingLeft(pair)
  await source('cancelled', 'insert into account values (6000, 1)')
})

test('a database on the target that is not empty waits for the consent to overwrite it', async () => {
  await createSourceDatabase(pair, 'taken', TABLES)
  await createTargetDatabase(pair, 'taken')
  {
    await using target = await pair.target.connect('taken')
    await target.query(`set role ${TARGET_USER}; create table public.precious (id int)`)
  }
  await host.migration('PUT', 'taken', migrationBody(pair, ['taken']))
  await host.waitFor('taken', 'it asks', (resource) => substate(resource) === 'WaitingForTargetDBOverwriteConfirmation')
  expect(await targetRows('taken', 'select from precious')).toEqual([])
  await host.migration('PATCH', 'taken', { properties: { overwriteDbsInTarget: 'True' } })
  await host.waitFor('taken', 'it follows', isWaitingForCutover)
  await host.migration('DELETE', 'taken')
  await host.waitFor('taken', 'it is cancelled', hasState('Canceled'))
  await expect(targetRows('taken', 'select from precious')).rejects.toMatchObject({ code: '42P01' })
})

test('a cutover whose comparison differs is called off: writes go on at the source, and it follows again', async () => {
  await createSourceDatabase(pair, 'differing', TABLES)
  await host.migration('PUT', 'differing', migrationBody(pair, ['differing']))
  await host.waitFor('differing', 'it follows', isWaitingForCutover)
  {
    await using target = await pair.target.connect('differing')
    await target.query('delete from account where id = 1')
  }
  await host.migration('PATCH', 'differing', { properties: { triggerCutover: 'True' } })
  const back = await host.waitFor('differing', 'it was called off', (resource) =>
    /called off/.test(resource.properties.currentStatus.currentSubStateDetails?.dbDetails['differing']?.message ?? ''),
  )
  expect(back.properties.currentStatus.currentSubStateDetails?.dbDetails['differing']?.message).toMatch(
    /public\.account/,
  )
  await source('differing', 'insert into account values (7000, 1)')
  {
    await using target = await pair.target.connect('differing')
    await expect
      .poll(async () => (await target.query('select from account where id = 7000')).rowCount, { timeout: 20_000 })
      .toBe(1)
    await target.query('insert into account values (1, 100)')
  }
  await host.waitFor('differing', 'it waits again', isWaitingForCutover)
  await host.migration('PATCH', 'differing', { properties: { triggerCutover: 'True' } })
  await host.waitFor('differing', 'it succeeds', hasState('Succeeded'))
  await expectNothingLeft(pair)
})

test('a change of a table that can not be carried over is shown with the way out, and following goes on when it is mended', async () => {
  await createSourceDatabase(pair, 'altered', TABLES)
  await host.migration('PUT', 'altered', migrationBody(pair, ['altered']))
  await host.waitFor('altered', 'it follows', isWaitingForCutover)
  // Each row has a value of its own, which no stream shows.
  await source('altered', 'alter table account add column note text default md5(random()::text)')
  await source('altered', `update account set note = 'same'; insert into account values (8000, 1, 'new')`)
  const message = (resource: Resource): string =>
    resource.properties.currentStatus.currentSubStateDetails?.dbDetails['altered']?.message ?? ''
  const stopped = await host.waitFor('altered', 'it says so', (resource) => message(resource) !== '')
  expect(message(stopped)).toMatch(/Trying again: .*account.*note/)
  await using target = await pair.target.connect('altered')
  await target.query('alter table account add column note text')
  await expect
    .poll(async () => (await target.query('select note from account where id = 8000')).rows, { timeout: 60_000 })
    .toEqual([{ note: 'new' }])
  await host.waitFor('altered', 'the message goes', (resource) => message(resource) === '', 60_000)
  await host.migration('DELETE', 'altered')
  await host.waitFor('altered', 'it is cancelled', hasState('Canceled'))
  await expectNothingLeft(pair)
})
