import { afterAll, beforeAll, expect, test } from 'vitest'
import { seededRandom } from '../../demo/random.ts'
import { SAMPLE_DATABASES } from '../../demo/sample-database.ts'
import {
  hasState,
  isWaitingForCutover,
  migrationBody,
  startMigrationHost,
  type MigrationHost,
} from '../support/migration-host.ts'
import {
  expectEqualDatabases,
  expectNothingLeft,
  startSamplePair,
  startSampleWorkload,
} from '../support/sample-migration.ts'
import type { ServerPair } from '../support/servers.ts'

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
