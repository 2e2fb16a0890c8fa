import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { StartError } from '../../host/start-host.ts'
import { marked, sampleHome, startSample, until, type SampleHome } from './sample-host.ts'
import { selfSignedCertificate } from './self-signed-certificate.ts'

// These tests start processes; a busy machine takes its time over that.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const mode = (home: SampleHome, file = '') => (statSync(join(home.path, file)).mode & 0o777).toString(8)
const read = (home: SampleHome, file: string) => readFileSync(join(home.path, file), 'utf8').trim()

async function startFailure(home: SampleHome, options: Parameters<typeof startSample>[1]): Promise<StartError> {
  const error: unknown = await startSample(home, options).then(
    (host) => host.kill(),
    (reason: unknown) => reason,
  )
  if (!(error instanceof StartError)) throw new Error('The host has started.', { cause: error })
  return error
}

test('the home is for its user alone; key and address lie in it', async () => {
  using home = sampleHome()
  await using host = await startSample(home)
  expect([mode(home), mode(home, 'key'), mode(home, 'url'), mode(home, 'host.db')]).toEqual([
    '700',
    '600',
    '600',
    '600',
  ])
  expect([read(home, 'key'), read(home, 'url')]).toEqual([host.key, host.url])
  expect(host.key).toMatch(/^[\w-]{43}$/)
  expect(await host.stop()).toBe(0)
  expect(existsSync(join(home.path, 'url'))).toBe(false)
})

test('the start message is one line on stdout, and the only one', async () => {
  using home = sampleHome()
  await using host = await startSample(home)
  const { port } = new URL(host.url)
  expect(host.output().match(/^pgflex is ready: .*$/gm)).toEqual([
    `pgflex is ready: http://127.0.0.1:${port}/#key=${host.key}`,
  ])
})

test('a key from PGFLEX_KEY replaces the stored one', async () => {
  using home = sampleHome()
  await using host = await startSample(home, { env: { PGFLEX_KEY: 'my-own-key' } })
  expect([host.key, read(home, 'key')]).toEqual(['my-own-key', 'my-own-key'])
  expect((await host.request('/items/x')).status).toBe(200)
})

test('a second host on the same home ends with a message; kill -9 of the first frees the home', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const { message, exitCode } = await startFailure(home, {})
  expect(exitCode).toBe(1)
  expect(message).toContain(`Another host is using ${home.path}. It is at ${first.url}.`)
  expect((await first.request('/health')).status).toBe(200)
  await first.kill()
  await using second = await startSample(home)
  expect((await second.request('/health')).status).toBe(200)
})

test('a port that is taken ends the host with a message', async () => {
  using home = sampleHome()
  const server = createServer().listen(0, '127.0.0.1')
  await until(() => server.listening)
  const { port } = server.address() as AddressInfo
  const { message, exitCode } = await startFailure(home, { port })
  server.close()
  expect([exitCode, message]).toEqual([1, expect.stringContaining(`Port ${port} of 127.0.0.1 is in use`)])
})

test.for([
  [['--host', '0.0.0.0'], 'unencrypted'],
  [['--host', '192.0.2.1'], 'unencrypted'],
  [['--tls-cert', 'cert.pem'], 'go together'],
  [['--no-such-option'], '--no-such-option'],
] as [string[], string][])('options %j are refused', async ([args, text]) => {
  using home = sampleHome()
  const { message, exitCode } = await startFailure(home, { args })
  expect([exitCode, message]).toEqual([2, expect.stringContaining(text)])
})

test('with a certificate the host serves HTTPS, and the client inside the app works as well', async () => {
  using home = sampleHome()
  const { cert, key } = selfSignedCertificate()
  const [certFile, keyFile] = [join(home.path, 'cert.pem'), join(home.path, 'key.pem')]
  writeFileSync(certFile, cert)
  writeFileSync(keyFile, key)
  await using host = await startSample(home, {
    args: ['--host', '0.0.0.0', '--tls-cert', certFile, '--tls-key', keyFile],
  })
  expect(host.url).toMatch(/^https:/)
  const { port } = new URL(host.url)
  const call = (path: string, body?: string) =>
    new Promise<[number | undefined, string]>((resolve, reject) => {
      const headers = { 'x-functions-key': host.key }
      const options = { ca: cert, headers, method: body === undefined ? 'GET' : 'POST' }
      httpsRequest(`https://localhost:${port}${path}`, options, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.on('end', () => resolve([response.statusCode, text]))
      })
        .on('error', reject)
        .end(body)
    })
  expect((await call('/health'))[0]).toBe(200)
  const [, started] = await call('/client/startNew', '["sequence", {"input": {"texts": ["tls"]}}]')
  expect(JSON.parse(started)).toEqual({ result: expect.any(String) as string })
  await marked(home, 'tls')
})

test('SIGTERM lets activities that look for it end, keeps their results, and exits with 0', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('gated', { gate: 'drained', endsEarly: true })
  await marked(home, `gate drained of ${id}`)
  expect(await first.stop('SIGTERM')).toBe(0)
  expect(home.marks()).toEqual([`gate drained of ${id}`, 'terminate hook', 'passed drained'])

  await using second = await startSample(home)
  expect((await second.ended(id)).output).toEqual({ gate: 'drained', endedEarly: true })
  expect(home.marks().filter((line) => line.startsWith('gate drained'))).toHaveLength(1)
})

test('SIGINT does not wait longer than 10 s for an activity; it runs again at the next start', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('gated', { gate: 'stubborn' })
  await marked(home, `gate stubborn of ${id}`)
  const begin = Date.now()
  expect(await first.stop('SIGINT')).toBe(0)
  expect(Date.now() - begin).toBeGreaterThan(9_500)
  expect(Date.now() - begin).toBeLessThan(20_000)
  expect(first.output()).toContain('activities are interrupted')

  home.open('stubborn')
  await using second = await startSample(home)
  expect((await second.ended(id)).runtimeStatus).toBe('Completed')
  expect(home.marks().filter((line) => line === `gate stubborn of ${id}`)).toHaveLength(2)
})

test('an exception that nobody catches ends the host with 1; everything goes on at the next start', async () => {
  using home = sampleHome()
  await using first = await startSample(home)
  const id = await first.start('oneEvent')
  await first.request('/uncaught', { method: 'POST' })
  expect(await first.exited).toBe(1)
  expect(first.output()).toContain('nobody catches this')
  expect(first.output()).not.toContain('hunter4')
  await using second = await startSample(home)
  await second.raise(id, 'Go', 1)
  expect((await second.ended(id)).output).toEqual({ value: 1 })
})

test.for([
  ['no-entry', /No file matches "functions\/\*\.js"/],
  ['broken-entry', /The app's file broken\.ts cannot be loaded: this app is broken/],
  ['no-functions', /registers no function/],
  ['twice', /A function with id "same" is registered twice/],
] as [string, RegExp][])('the app %s ends the host with a message', async ([app, text]) => {
  using home = sampleHome()
  const { message, exitCode } = await startFailure(home, { app })
  expect([exitCode, message]).toEqual([1, expect.stringMatching(text)])
})

test('an app in CommonJS with the default route prefix and local settings works', async () => {
  using home = sampleHome()
  // This file is never committed, in no app: it is for a developer's own settings.
  const settings = join(import.meta.dirname, 'apps', 'commonjs', 'local.settings.json')
  writeFileSync(settings, JSON.stringify({ Values: { SETTING_ONE: 'from the file', SETTING_TWO: 'from the file' } }))
  onTestFinished(() => rmSync(settings))
  await using host = await startSample(home, { app: 'commonjs', env: { SETTING_TWO: 'from outside' } })
  expect(await (await host.request('/api/hello')).json()).toEqual({
    runtime: 'node',
    one: 'from the file',
    two: 'from outside',
    home: home.path,
    hostname: new URL(host.url).host,
    hooks: ['start', 'before hello'],
  })
})
