import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { WayBack } from '../../cli/client.ts'
import type { Migration } from '../../migration/model/migration-resource.ts'
import { CONSISTENT, startWriters, WRITERS_DDL, WRITERS_ROWS } from '../migration/fallback/writers.ts'
import { migrationBody, startMigrationHost, type MigrationHost } from '../support/migration-host.ts'
import {
  APP_USER,
  createSourceDatabase,
  SOURCE_USER,
  startServerPair,
  TARGET_USER,
  type ServerPair,
} from '../support/servers.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js')

let pair: ServerPair
let host: MigrationHost
let folder: string

beforeAll(async () => {
  pair = await startServerPair(15, 17)
  await createSourceDatabase(pair, 'busy', WRITERS_DDL + WRITERS_ROWS)
  await createSourceDatabase(pair, 'quiet', 'create table t (id int primary key); insert into t values (1)')
  host = await startMigrationHost()
  folder = mkdtempSync(join(tmpdir(), 'pgflex-cli-'))
})

afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

interface Run {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs `pgflex migration …` without a terminal, in the home of the host. */
function pgflex(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, [MAIN, 'migration', ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      PGFLEX_HOME: host.home,
      PGFLEX_SOURCE_PASSWORD: pair.sourcePassword,
      PGFLEX_TARGET_PASSWORD: pair.targetPassword,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

async function create(name: string, option: string): Promise<void> {
  const file = join(folder, `${name}.json`)
  const { properties } = migrationBody(pair, ['busy', 'quiet'], { pgflex: { fallback: 'ReverseReplication' } })
  const { secretParameters: _secrets, ...rest } = properties
  writeFileSync(
    file,
    JSON.stringify({
      properties: {
        ...rest,
        SecretParameters: { sourceServerUserName: SOURCE_USER, targetServerUserName: TARGET_USER },
      },
    }),
  )
  const run = await pgflex('create', '-n', name, '-b', file, '--migration-mode', 'online', '--migration-option', option)
  expect(run).toMatchObject({ code: 0 })
}

async function waysBack(): Promise<WayBack[]> {
  const { code, stdout } = await pgflex('fallback', '-n', 'there')
  expect(code).toBe(0)
  return JSON.parse(stdout) as WayBack[]
}

async function shown(): Promise<Migration> {
  return JSON.parse((await pgflex('show', '-n', 'there')).stdout) as Migration
}

test('validation names each thing that a way back lacks, with the statement that grants it', async () => {
  await create('unfit', 'Validate')
  expect((await pgflex('wait', '-n', 'unfit', '--for', 'validated', '--timeout', '60s')).code).toBe(4)
  const { body } = await host.migration('GET', 'unfit')
  const text = JSON.stringify(body.properties.currentStatus.currentSubStateDetails!.validationDetails)
  expect(text).toContain(`alter role \\"${TARGET_USER}\\" with replication;`)
  expect(text).toContain(`grant set on parameter session_replication_role to \\"${SOURCE_USER}\\";`)
  expect(text).toContain(`grant pg_signal_backend to \\"${TARGET_USER}\\";`)
  {
    await using source = await pair.source.connect()
    await source.query(`grant set on parameter session_replication_role to ${SOURCE_USER}`)
    await source.query(
      `grant create on database busy to ${SOURCE_USER}; grant create on database quiet to ${SOURCE_USER}`,
    )
    await source.query(`grant pg_signal_backend to ${SOURCE_USER}`)
    await using target = await pair.target.connect()
    await target.query(`alter role ${TARGET_USER} replication`)
    await target.query(`grant pg_signal_backend to ${TARGET_USER}`)
    await target.query(`create role ${APP_USER} login password '${pair.appPassword}'`)
    await target.query(`grant ${APP_USER} to ${TARGET_USER}`)
  }
  await create('fit', 'Validate')
  expect(await pgflex('wait', '-n', 'fit', '--for', 'validated', '--timeout', '60s')).toMatchObject({ code: 0 })
})

test('after the cutover one database is switched back under load, and the way back of the other one is ended', async () => {
  await create('there', 'ValidateAndMigrate')
  expect((await pgflex('fallback', '-n', 'there', '--end', '--yes')).stderr).toContain('FallbackNotOn')
  expect(await pgflex('wait', '-n', 'there', '--for', 'ready', '--timeout', '90s')).toMatchObject({ code: 0 })
  expect(await pgflex('cutover', '-n', 'there', '--yes')).toMatchObject({ code: 0 })
  expect(await pgflex('wait', '-n', 'there', '--for', 'succeeded', '--timeout', '90s')).toMatchObject({ code: 0 })

  const writers = startWriters(pair, 'busy', 2)
  try {
    await expect.poll(() => writers.acknowledged(), { timeout: 20_000 }).toBeGreaterThan(50)
    // A host that dies while it brings changes back loses and doubles nothing.
    await host.kill()
    await expect.poll(() => writers.acknowledged(), { timeout: 20_000 }).toBeGreaterThan(150)
    await host.start()
    await expect
      .poll(async () => (await shown()).properties.currentStatus.pgflex.actions, { timeout: 60_000 })
      .toEqual(['switchBack', 'end'])
    const { state, pgflex: status } = (await shown()).properties.currentStatus
    expect({ state, fallback: status.fallback }).toMatchObject({
      state: 'Succeeded',
      fallback: { state: 'Following', warnings: [] },
    })
    expect(Object.keys(status.fallback!)).toEqual(
      expect.arrayContaining(['latencySeconds', 'lagBytes', 'appliedChanges']),
    )
    expect((await pgflex('delete', '-n', 'there', '--yes')).stderr).toContain('FallbackIsOn')
    // A password may be changed meanwhile; nothing else.
    const patch = (properties: object): Promise<{ status: number }> => host.migration('PATCH', 'there', { properties })
    const { secretParameters } = migrationBody(pair, []).properties as {
      secretParameters: { adminCredentials: object }
    }
    const { adminCredentials } = secretParameters
    expect((await patch({ secretParameters: { adminCredentials } })).status).toBe(200)
    expect((await patch({ pgflex: { verify: 'None' } })).status).toBe(409)

    expect(await pgflex('fallback', '-n', 'there', '--switch-back', '--dbs', 'busy')).toMatchObject({ code: 2 })
    const back = await pgflex('fallback', '-n', 'there', '--switch-back', '--dbs', 'busy', '--yes', '--timeout', '60s')
    expect({ ...back, stdout: '' }).toMatchObject({ code: 0 })
    expect(JSON.parse(back.stdout)).toMatchObject([
      { database: 'busy', fallback: { state: 'SwitchedBack', switchBack: { downtimeSeconds: expect.any(Number) } } },
    ])
    const before = writers.acknowledged()
    await expect.poll(() => writers.acknowledged(), { timeout: 20_000 }).toBeGreaterThan(before + 20)
  } finally {
    await writers.stop()
  }
  expect(await writers.missing('source')).toEqual([])
  {
    await using source = await pair.source.connect('busy')
    expect((await source.query(CONSISTENT)).rows).toEqual([{ ok: true }])
  }
  expect((await pgflex('fallback', '-n', 'there', '--end', '--dbs', 'busy', '--yes')).stderr).toContain('FallbackNotOn')
  const ended = await pgflex('fallback', '-n', 'there', '--end', '--dbs', 'quiet', '--yes', '--timeout', '60s')
  expect({ ...ended, stdout: '' }).toMatchObject({ code: 0 })
  // Asking again is asking once.
  expect(await pgflex('fallback', '-n', 'there', '--end', '--dbs', 'quiet', '--yes')).toMatchObject({ code: 0 })
  await expect
    .poll(async () => (await waysBack()).map(({ fallback }) => fallback?.state), { timeout: 20_000 })
    .toEqual(['SwitchedBack', 'Ended'])
  for (const server of [pair.source, pair.target]) {
    for (const database of ['busy', 'quiet']) {
      await using admin = await server.connect(database)
      const { rows } = await admin.query(
        `select slot_name as left from pg_replication_slots
          union all select pubname from pg_publication
          union all select nspname from pg_namespace where nspname = 'pgflex'`,
      )
      expect({ database, rows }).toEqual({ database, rows: [] })
    }
  }
  const { stdout: report } = await pgflex('report', '-n', 'there')
  expect(report).toContain('<h2>Way back</h2>')
  expect(report).toContain('<td>SwitchedBack</td>')
  await expect.poll(() => secretsIn(join(host.home)), { timeout: 10_000 }).toEqual([])
  expect((await pgflex('delete', '-n', 'there', '--yes')).code).toBe(0)
})

/** Files of the home in which a password is. */
function secretsIn(home: string): string[] {
  return readdirSync(home, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes('s3cr3t-'))
}
