import { afterAll, beforeAll, expect, test } from 'vitest'
import { compareDatabases } from '../../demo/compare.ts'
import { seededRandom } from '../../demo/random.ts'
import { SAMPLE_DATABASES } from '../../demo/sample-database.ts'
import {
  hasState,
  isWaitingForCutover,
  migrationBody,
  startMigrationHost,
  type MigrationHost,
  type Resource,
} from '../support/migration-host.ts'
import {
  expectEqualDatabases,
  expectNothingLeft,
  startSamplePair,
  startSampleWorkload,
} from '../support/sample-migration.ts'
import { APP_USER, createSourceDatabase, TARGET_USER, type ServerPair } from '../support/servers.ts'
import { expectEqualLargeObjects } from '../migration/load/large-objects.ts'

const KILLS = 10

let pair: ServerPair
let host: MigrationHost

beforeAll(async () => {
  pair = await startSamplePair(15, 18)
  host = await startMigrationHost({ PGFLEX_SLICE_SECONDS: '5' })
})

afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
})

async function cutOver(): Promise<void> {
  await host.waitFor('killed', 'all databases follow', isWaitingForCutover)
  const { status, body } = await host.migration('PATCH', 'killed', { properties: { triggerCutover: 'True' } })
  if (status !== 200) throw new Error(`The cutover was answered with ${status}: ${JSON.stringify(body)}`)
}

test(`a host that is killed ${KILLS} times at random moments loses nothing and doubles nothing`, async () => {
  const seed = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)
  process.stderr.write(`kill-host seed ${seed} (PGFLEX_TEST_SEED)\n`)
  const random = seededRandom(seed)
  await using workload = startSampleWorkload(pair, seed)
  expect((await host.migration('PUT', 'killed', migrationBody(pair, [...SAMPLE_DATABASES]))).status).toBe(201)

  // From the first moments, where little has been done, to the cutover; the last kills come after its request.
  for (let kill = 1; kill <= KILLS; kill++) {
    if (kill === KILLS - 2) await cutOver()
    const moment = random.next() * (kill <= KILLS - 3 ? 2_500 : 400)
    await new Promise((resolve) => setTimeout(resolve, moment))
    await host.kill()
    process.stderr.write(`kill ${kill} after ${moment.toFixed(0)} ms\n`)
    await host.start()
  }
  await host.waitFor('killed', 'the cutover succeeds', hasState('Succeeded'))
  await workload.stop()
  await expectEqualDatabases(pair, workload)
  await expectNothingLeft(pair)
})

/** Kills of a load: 20 show what the project promises, 4 are enough for each change. */
const LOAD_KILLS = Number(process.env['PGFLEX_KILL_ROUNDS'] ?? 4)

/** What is copied between two kills is not copied again: there has to be enough of it. */
const BULK_TABLES = Math.ceil(2 + 1.5 * LOAD_KILLS)

/** Tables of some megabytes, as many as that no kill comes after the load, small ones, and large objects. */
const bulk = (tables: number): string => `
  do $$ begin
    for t in 1..${tables} loop
      execute format('create table bulk_%s (id int primary key, body text)', t);
      execute format('insert into bulk_%s select n, repeat(md5(n::text), 8) from generate_series(1, 60000) as n', t);
    end loop;
    for t in 1..40 loop
      execute format('create table small_%s (id int primary key, body text)', t);
      execute format('insert into small_%s select n, md5(n::text) from generate_series(1, 100) as n', t);
    end loop;
  end $$;
  analyze;
  select lo_from_bytea(20000 + n, convert_to(repeat(md5(n::text), 1000), 'UTF8')) from generate_series(1, 300) as n`

/** Waits until rows are flowing, or have all arrived. */
async function untilRowsFlow(): Promise<void> {
  await using target = await pair.target.connect('bulk')
  const waiting = `
    select
     where exists (select from pgflex.table_copy where state in ('queued', 'loading'))
       and not exists (select from pg_stat_activity
                        where datname = 'bulk' and application_name like 'pgflex copy-% write' and state = 'active')`
  await expect.poll(async () => (await target.query(waiting)).rows.length, { timeout: 60_000, interval: 20 }).toBe(0)
}

/** Tables that were being copied when the host was killed. */
async function tablesUnderWay(): Promise<string[]> {
  await using target = await pair.target.connect('bulk')
  // A commit that the host has just sent counts, too.
  await expect
    .poll(
      async () => (await target.query(`select from pg_stat_activity where application_name like 'pgflex %'`)).rows,
      {
        timeout: 20_000,
      },
    )
    .toEqual([])
  const { rows } = await target.query<{ name: string }>(
    `select 'public.' || table_name as name from pgflex.table_copy where state = 'loading'`,
  )
  return rows.map(({ name }) => name)
}

test(`a load that is killed up to ${LOAD_KILLS} times at random moments goes on, and tells which tables were copied again`, async () => {
  const seed = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)
  process.stderr.write(`kill-host load seed ${seed} (PGFLEX_TEST_SEED)\n`)
  const random = seededRandom(seed)
  await createSourceDatabase(pair, 'bulk', bulk(BULK_TABLES))
  const underWay = new Set<string>()
  let kills = 0
  expect((await host.migration('PUT', 'bulk', migrationBody(pair, ['bulk'], { pgflex: { copyJobs: 2 } }))).status).toBe(
    201,
  )
  while (kills < LOAD_KILLS) {
    const before = await host.waitFor(
      'bulk',
      'the load goes on',
      (resource) => isLoading(resource) || isWaitingForCutover(resource),
    )
    if (isWaitingForCutover(before)) break
    // Every other one while rows are flowing; the rest anywhere, also where a host has just begun.
    if (kills % 2 === 0) await untilRowsFlow()
    await new Promise((resolve) => setTimeout(resolve, random.next() * (kills % 2 === 0 ? 300 : 1_200)))
    await host.kill()
    kills++
    const tables = await tablesUnderWay()
    for (const table of tables) underWay.add(table)
    process.stderr.write(`kill ${kills} in the load, under way: ${tables.join(', ')}\n`)
    await host.start()
  }
  await host.waitFor('bulk', 'the database follows', isWaitingForCutover)
  const { body } = await host.migration<{ value: { event: string; message: string }[] }>(
    'GET',
    'bulk',
    undefined,
    '/events',
  )
  const told = body.value
    .filter(({ event }) => event === 'CopyInterrupted')
    .flatMap(({ message }) => message.match(/public\.\w+/g) ?? [])
  expect(new Set(told)).toEqual(underWay)
  expect(underWay.size).toBeGreaterThan(0)
  expect((await host.migration('PATCH', 'bulk', { properties: { triggerCutover: 'True' } })).status).toBe(200)
  await host.waitFor('bulk', 'the cutover succeeds', hasState('Succeeded'))
  await using source = await pair.source.connect('bulk')
  await using target = await pair.target.connect('bulk')
  expect(await compareDatabases(source, target)).toMatchObject({ differences: [], tables: BULK_TABLES + 40 })
  await expectEqualLargeObjects(pair, 'bulk', { [APP_USER]: TARGET_USER })
  await expectNothingLeft(pair)
  // Fewer, and the load was over too soon to say anything.
  expect(kills).toBeGreaterThan(LOAD_KILLS / 2)
})

function isLoading({ properties }: Resource): boolean {
  const databases = properties.currentStatus.currentSubStateDetails?.dbDetails ?? {}
  return Object.values(databases).some(({ pgflex }) => pgflex?.phase === 'CopyingData')
}
