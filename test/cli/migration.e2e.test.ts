import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../../demo/embedded-postgres.ts'
import type { Migration } from '../../migration/model/migration-resource.ts'
import { pretendToFollow, pretendToVerify, waitingBody } from '../functions/waiting-migration.ts'
import { startMigrationHost, type MigrationHost } from '../support/migration-host.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js')

let host: MigrationHost
let folder: string
let file: string

beforeAll(async () => {
  host = await startMigrationHost()
  folder = mkdtempSync(join(tmpdir(), 'pgflex-cli-'))
  file = join(folder, 'properties.json')
  const { properties } = waitingBody()
  const { secretParameters: _secrets, ...rest } = properties
  writeFileSync(
    file,
    JSON.stringify({ properties: { ...rest, SecretParameters: { targetServerUserName: 'target_admin' } } }),
  )
})

afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

interface Run {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs `pgflex migration …` without a terminal, in the home of the host. */
function pgflex(args: string[], env: Record<string, string> = {}): Promise<Run> {
  const child = spawn(process.execPath, [MAIN, 'migration', ...args], {
    env: { PATH: process.env['PATH'] ?? '', PGFLEX_HOME: host.home, ...env },
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

async function create(name: string): Promise<void> {
  const passwords = { PGFLEX_SOURCE_PASSWORD: 's3cr3t-1', PGFLEX_TARGET_PASSWORD: 's3cr3t-2' }
  const run = await pgflex(['create', '-n', name, '-b', file, '--migration-mode', 'online'], passwords)
  expect(run).toMatchObject({ code: 0, stderr: '' })
  expect((JSON.parse(run.stdout) as Migration).properties.migrationMode).toBe('Online')
}

it('creates with passwords from the environment, shows and lists', async () => {
  await create('orders')
  expect(JSON.parse((await pgflex(['show', '-n', 'orders'])).stdout)).toMatchObject({ name: 'orders' })
  const { stdout } = await pgflex(['list', '-o', 'table'])
  expect(stdout.split('\n')[0]).toMatch(/^Name {2,}Mode {2,}State {2,}Substate {2,}Started$/)
  expect(stdout.split('\n')[2]).toMatch(/^orders {2}Online {2}/)
  expect((await pgflex(['list', '-o', 'tsv'])).stdout).toMatch(/^orders\tOnline\t/)
  expect(await pgflex(['show', '-n', 'orders', '-o', 'none'])).toEqual({ code: 0, stdout: '', stderr: '' })
})

it('says what, why and what to do on stderr alone, and ends with the code of the case', async () => {
  const none = await pgflex(['show', '-n', 'nobody'])
  expect(none).toMatchObject({ code: 3, stdout: '' })
  expect(none.stderr).toMatch(/^error: .*nobody.*was not found/)
  expect(await pgflex(['show'])).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('--name') })
  expect(await pgflex(['shw'])).toMatchObject({ code: 2, stderr: expect.stringContaining('Did you mean show?') })
  expect((await pgflex(['create', '-n', 'x', '-b', join(folder, 'nothing.json')])).code).toBe(2)
  const refused = await pgflex(['create', '-n', 'nopasswords', '-b', file])
  expect(refused).toMatchObject({ code: 1, stdout: '' })
  expect(refused.stderr).toContain('adminCredentials.sourceServerPassword is missing')
  const away = await pgflex(['list'], { PGFLEX_URL: `http://127.0.0.1:${await freePort()}`, PGFLEX_KEY: 'x' })
  expect(away).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/cannot be reached: ECONNREFUSED.*\n.*npm start/),
  })
  expect(away.stderr).not.toContain('    at ')
  expect((await pgflex(['show', '-n', 'nobody', '--debug'])).stderr).toContain('    at ')
})

it('needs --yes for a cutover without a terminal, not for update --cutover', async () => {
  await create('cut')
  expect(await pgflex(['cutover', '-n', 'cut'])).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') })
  expect(await pgflex(['cutover', '-n', 'cut', '--yes'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('CutoverNotReady'),
  })
  await expect
    .poll(async () => (await pgflex(['show', '-n', 'cut'])).stdout, { timeout: 10_000 })
    .toContain('WaitingForDataMigrationWindow')
  await pretendToFollow(host, 'cut')
  expect((await pgflex(['wait', '-n', 'cut', '--for', 'ready', '-o', 'none'])).code).toBe(0)
  const one = await pgflex(['cutover', '-n', 'cut', '--db-names', 'a', '--yes'])
  expect(JSON.parse(one.stdout)).toMatchObject({ properties: { dbsToTriggerCutoverOn: ['a'] } })
  expect(JSON.parse((await pgflex(['update', '-n', 'cut', '--cutover'])).stdout)).toMatchObject({
    properties: { dbsToTriggerCutoverOn: ['a', 'b'] },
  })
  expect((await pgflex(['update', '-n', 'cut'])).code).toBe(2)
  expect((await pgflex(['update', '-n', 'cut', '--cutover', '--cancel'])).code).toBe(2)
})

it('waits for a comparison, and ends with 1 when differences last', async () => {
  await create('compared')
  await expect
    .poll(async () => (await pgflex(['show', '-n', 'compared'])).stdout, { timeout: 10_000 })
    .toContain('WaitingForDataMigrationWindow')
  await pretendToFollow(host, 'compared')
  expect((await pgflex(['verify', '-n', 'compared', '--timeout', '0s'])).code).toBe(5)
  for (const [result, code] of [
    ['Different', 1],
    ['Equal', 0],
  ] as const) {
    await pretendToVerify(host, 'compared', result)
    const waiting = pgflex(['verify', '-n', 'compared', '-o', 'tsv'])
    await expect
      .poll(async () => (await host.migration('GET', 'compared', undefined, '/verify')).body, { timeout: 10_000 })
      .toMatchObject({ value: [{ requested: true }, { requested: true }] })
    await pretendToVerify(host, 'compared', result)
    expect(await waiting).toMatchObject({ code, stdout: expect.stringContaining(result) })
  }
})

it('waits with a limit, cancels, and watches to the end', async () => {
  await create('slow')
  expect(await pgflex(['wait', '-n', 'slow', '--for', 'ready', '--timeout', '1s'])).toMatchObject({
    code: 5,
    stdout: '',
  })
  expect(await pgflex(['delete', '-n', 'slow'])).toMatchObject({ code: 2 })
  expect((await pgflex(['cancel', '-n', 'slow'])).code).toBe(0)
  const watched = await pgflex(['watch', '-n', 'slow'])
  expect(watched.code).toBe(1)
  expect(watched.stderr).toMatch(/slow: Canceled \/ Completed.*\n.*error: slow has ended: Canceled\./)
  expect((await pgflex(['delete', '-n', 'slow', '--yes'])).code).toBe(0)
  expect((await pgflex(['events', '-n', 'slow', '-o', 'table'])).stdout).toContain('CancelRequested')
  expect(JSON.parse((await pgflex(['tables', '-n', 'slow'])).stdout)).toEqual([])
  expect(JSON.parse((await pgflex(['check-name-availability', '-n', 'slow'])).stdout)).toMatchObject({
    nameAvailable: false,
  })
})

it('writes the report of a migration as a page or as JSON, to stdout or into a file', async () => {
  await create('told')
  const page = await pgflex(['report', '-n', 'told'])
  expect(page).toMatchObject({
    code: 0,
    stderr: '',
    stdout: expect.stringMatching(/^<!doctype html>[^]*<h1>told<\/h1>/),
  })
  const json = await pgflex(['report', '-n', 'told', '-o', 'json'])
  expect(JSON.parse(json.stdout)).toMatchObject({ migration: { name: 'told' }, databases: [{ database: 'a' }, {}] })
  expect((await pgflex(['report', '-n', 'told', '-o', 'table'])).stdout).toMatch(/^Name {2,}Mode/)
  const path = join(folder, 'told.html')
  const written = await pgflex(['report', '-n', 'told', '--file', path])
  expect(written).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining(path) })
  expect(readFileSync(path, 'utf8')).toMatch(/^<!doctype html>/)
  expect((await pgflex(['report', '-n', 'told', '--file', join(folder, 'none', 'told.html')])).code).toBe(2)
  expect((await pgflex(['report', '-n', 'nobody'])).code).toBe(3)
  for (const secret of ['s3cr3t-1', 's3cr3t-2']) expect(page.stdout + json.stdout).not.toContain(secret)
})
