import { afterAll, beforeAll, expect, it } from 'vitest'
import type { ErrorBody } from '../../migration/model/migration-resource.ts'
import type { MigrationReport } from '../../migration/report.ts'
import { startMigrationHost, type MigrationHost } from '../support/migration-host.ts'
import { createWaiting, PASSWORDS, pretendToFollow } from './waiting-migration.ts'

const HOSTILE = `<script>alert(1)</script>`

let host: MigrationHost

beforeAll(async () => {
  host = await startMigrationHost()
  await createWaiting(host, 'told', { dbsToMigrate: ['a', HOSTILE] })
})

afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
})

const PATH =
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.DBforPostgreSQL/flexibleServers/local/migrations'

function get(name: string, query = '', headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${host.url()}${PATH}/${name}/report${query}`, {
    headers: { 'x-functions-key': host.key(), ...headers },
  })
}

it('is a page that a browser may show and in which nothing runs', async () => {
  const response = await get('told', '', { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' })
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none'; style-src 'sha256-[^']+'; /)
  const page = await response.text()
  expect(page).toMatch(/^<!doctype html>/)
  expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
  expect(page).not.toContain(HOSTILE)
  for (const secret of PASSWORDS) expect(page).not.toContain(secret)
})

it('is JSON when that is asked for, with the settings, status and events of the migration', async () => {
  for (const response of [await get('told', '?format=json'), await get('told', '', { accept: 'application/json' })]) {
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8')
    const text = await response.text()
    for (const secret of PASSWORDS) expect(text).not.toContain(secret)
    const report = JSON.parse(text) as MigrationReport
    expect(report).toMatchObject({
      versions: { pgflex: expect.stringMatching(/^\d+\.\d+\.\d+/) },
      target: { host: '127.0.0.1', port: 2 },
      migration: { name: 'told' },
      databases: [{ database: 'a', tables: [], samples: [] }, { database: HOSTILE }],
    })
    expect(report.events.map(({ event }) => event)).toContain('MigrationCreated')
  }
  const refused = await get('told', '?format=pdf')
  expect(refused.status).toBe(400)
  expect(((await refused.json()) as ErrorBody).error.message).toContain('format must be one of html, json')
})

it('tells what is known when the target does not answer', async () => {
  await createWaiting(host, 'away')
  await pretendToFollow(host, 'away')
  const response = await get('away', '?format=json')
  expect(response.status).toBe(200)
  const { databases } = (await response.json()) as MigrationReport
  expect(databases.map(({ problem }) => problem)).toEqual(
    Array.from({ length: 2 }, () =>
      expect.stringMatching(/could not be read from the target: .*(refused|ECONNREFUSED)/),
    ),
  )
})

it('needs the key, and a migration', async () => {
  expect((await fetch(`${host.url()}${PATH}/told/report`)).status).toBe(401)
  expect((await get('nobody')).status).toBe(404)
})
