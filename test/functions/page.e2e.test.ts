import { afterAll, beforeAll, expect, it } from 'vitest'
import { startMigrationHost, type MigrationHost } from '../support/migration-host.ts'

let host: MigrationHost

beforeAll(async () => {
  host = await startMigrationHost()
})

afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
})

it.each([
  ['/', 'text/html', '<title>pgflex</title>'],
  ['/index.html', 'text/html', '<title>pgflex</title>'],
  ['/page.css', 'text/css', ':root'],
  ['/page.js', 'text/javascript', 'sessionStorage'],
])('%s is there for everybody, under a strict policy', async (path, type, text) => {
  const response = await fetch(host.url() + path)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toContain(type)
  expect(response.headers.get('content-security-policy')).toMatch(
    /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/,
  )
  expect(response.headers.get('x-frame-options')).toBe('DENY')
  expect(await response.text()).toContain(text)
})

it('serves no other file', async () => {
  for (const path of ['/package.json', '/page.ts', '/..%2fpackage.json', '/__proto__', '/constructor']) {
    expect((await fetch(host.url() + path)).status).toBe(404)
  }
})
