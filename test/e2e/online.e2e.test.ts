import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { MigrationReport } from '../../migration/report.ts'
import { SAMPLE_DATABASES } from '../../demo/sample-database.ts'
import type { VerificationReport } from '../../migration/model/status.ts'
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
import { SOURCE_USER, TARGET_USER, type ServerPair } from '../support/servers.ts'

let pair: ServerPair
let host: MigrationHost

beforeAll(async () => {
  pair = await startSamplePair(13, 17)
  host = await startMigrationHost()
})

afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
})

test('neither side migrates as a superuser', async () => {
  for (const [server, user] of [
    [pair.source, SOURCE_USER],
    [pair.target, TARGET_USER],
  ] as const) {
    await using admin = await server.connect()
    const { rows } = await admin.query('select rolsuper from pg_roles where rolname = $1', [user])
    expect(rows).toEqual([{ rolsuper: false }])
  }
})

test('two databases move under load, and are equal in every table and sequence', async () => {
  await using workload = startSampleWorkload(pair, Date.now() % 1_000_000)
  const answers: string[] = []
  const created = await host.migration('PUT', 'online', migrationBody(pair, [...SAMPLE_DATABASES]))
  expect(created.status).toBe(201)
  const following = await host.waitFor('online', 'all databases follow', isWaitingForCutover)
  answers.push(JSON.stringify(following))
  expect(following.properties.currentStatus.state).toBe('WaitingForUserAction')

  expect((await host.migration('POST', 'online', undefined, '/verify')).status).toBe(202)
  const verify = (): Promise<{ body: { value: { requested: boolean; verification: VerificationReport }[] } }> =>
    host.migration('GET', 'online', undefined, '/verify')
  await expect
    .poll(async () => (await verify()).body.value.map(({ requested }) => requested), { timeout: 60_000 })
    .toEqual([false, false])
  for (const { verification } of (await verify()).body.value) {
    expect(verification.whileFollowing!.objects).toEqual([])
    expect(verification).toMatchObject({ result: 'Equal', differences: [] })
  }

  const cutover = await host.migration('PATCH', 'online', { properties: { triggerCutover: 'True' } })
  expect(cutover.status).toBe(200)
  const ended = await host.waitFor('online', 'the cutover succeeds', hasState('Succeeded'))
  answers.push(JSON.stringify(ended))
  await workload.stop()
  await expectEqualDatabases(pair, workload)
  await expectNothingLeft(pair)

  for (const path of ['', '/tables', '/events', '/samples', '/validation', '/parameters']) {
    const { status, body } = await host.migration<unknown>('GET', 'online', undefined, path)
    expect({ path, status }).toEqual({ path, status: 200 })
    answers.push(JSON.stringify(body))
  }
  const { body: report } = await host.migration<MigrationReport>('GET', 'online', undefined, '/report?format=json')
  answers.push(JSON.stringify(report))
  // From the archive: the control schemas are gone.
  for (const { tables, samples, problem } of report.databases) {
    expect(problem).toBeUndefined()
    expect(tables.length).toBeGreaterThan(15)
    expect(samples.length).toBeGreaterThan(0)
  }
  const told = report.events.filter(({ event }) => event === 'PointApplicationsHere')
  expect(new Set(told.map(({ database }) => database))).toEqual(new Set(SAMPLE_DATABASES))
  for (const secret of [pair.sourcePassword, pair.targetPassword]) {
    expect(answers.filter((answer) => answer.includes(secret))).toEqual([])
    expect(host.output()).not.toContain(secret)
    expect(filesWith(host.home, secret)).toEqual([])
  }
})

/** Files of the home that contain a text: after the end of a migration, its secrets are in none. */
function filesWith(folder: string, text: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes(text))
}
