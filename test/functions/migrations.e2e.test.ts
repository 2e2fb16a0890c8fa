import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { migrationKey, serverId } from '../../migration/model/migration-id.ts'
import { migrationSchema, type ErrorBody, type Migration } from '../../migration/model/migration-resource.ts'
import type { MigrationRecord } from '../../migration/model/record.ts'
import { fileDocuments } from '../../migration/store/file-documents.ts'
import { createRecord, listRecords } from '../../migration/store/migrations.ts'
import { substate, startMigrationHost, type MigrationHost } from '../support/migration-host.ts'
import { createWaiting, PASSWORDS, waitingBody } from './waiting-migration.ts'

const LOCAL = {
  subscriptionId: '00000000-0000-0000-0000-000000000000',
  resourceGroupName: 'local',
  serverName: 'local',
}
const SERVER = serverId(LOCAL)
const VERSION = 'api-version=2025-08-01'

let host: MigrationHost

beforeAll(async () => {
  host = await startMigrationHost()
})

afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
})

const create = (name: string, properties?: Record<string, unknown>): Promise<void> =>
  createWaiting(host, name, properties)

function patch(
  name: string,
  properties: Record<string, unknown>,
): ReturnType<typeof host.migration<Migration & ErrorBody>> {
  return host.migration<Migration & ErrorBody>('PATCH', name, { properties })
}

describe('PUT', () => {
  it('creates a migration, and says so once', async () => {
    const first = await host.migration<Migration>('PUT', 'created', waitingBody())
    expect(first.status).toBe(201)
    expect(first.headers.get('x-ms-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    expect(first.headers.get('cache-control')).toBe('no-cache')
    expect(migrationSchema.parse(first.body)).toEqual(first.body)
    const second = await host.migration<Migration>('PUT', 'created', waitingBody())
    expect(second.status).toBe(200)
    expect(second.body.properties.migrationId).toBe(first.body.properties.migrationId)
  })

  it('takes back what GET gave', async () => {
    await create('putback')
    const { body } = await host.migration('GET', 'putback')
    expect((await host.migration('PUT', 'putback', body)).status).toBe(200)
  })

  it('refuses another migration of the same name, with the fields in which it differs and without their values', async () => {
    await create('taken')
    const other = waitingBody({
      dbsToMigrate: ['c'],
      secretParameters: {
        adminCredentials: { sourceServerPassword: 's3cr3t-other', targetServerPassword: PASSWORDS[1] },
        targetServerUsername: 'else',
      },
    })
    const { status, body } = await host.migration<ErrorBody>('PUT', 'taken', other)
    expect(status).toBe(409)
    expect(body.error.code).toBe('MigrationAlreadyExists')
    expect(body.error.message).toMatch(/dbsToMigrate.*targetServerUsername.*sourceServerPassword/)
    expect(body.error.message).not.toMatch(/s3cr3t|targetServerPassword/)
  })

  it('finishes what a crash left undone between the record and the orchestration', async () => {
    const documents = fileDocuments(join(host.home, 'documents'))
    await create('donor')
    const donor = (await listRecords(documents)).find(({ name }) => name === 'donor')!
    const half = JSON.parse(JSON.stringify(donor).replaceAll('donor', 'halfdone')) as MigrationRecord
    half.key = migrationKey({ ...LOCAL, migrationName: 'halfdone' })
    expect(await createRecord(documents, half)).toBe(true)
    expect((await host.migration('PUT', 'halfdone', waitingBody())).status).toBe(200)
    await host.waitFor('halfdone', 'it is taken up', (one) => substate(one) === 'WaitingForDataMigrationWindow')
    expect(readdirSync(join(host.home, 'secrets')).filter((file) => file.includes('halfdone'))).toHaveLength(2)
  })

  it('names every problem with its field, and stores nothing', async () => {
    const { status, body } = await host.migration<ErrorBody>(
      'PUT',
      'wrong',
      waitingBody({ migrationMod: 1, secretParameters: {} }),
    )
    expect(status).toBe(400)
    expect(body.error.code).toBe('InvalidInput')
    expect(body.error.details).toEqual([
      {
        code: 'InvalidInput',
        target: 'properties.migrationMod',
        message: 'There is no field properties.migrationMod. Did you mean migrationMode?',
      },
    ])
    const second = await host.migration<ErrorBody>('PUT', 'wrong', waitingBody({ secretParameters: {} }))
    expect(second.body.error.details?.map(({ target }) => target)).toEqual([
      'properties.secretParameters.targetServerUsername',
      'properties.secretParameters.adminCredentials.sourceServerPassword',
      'properties.secretParameters.adminCredentials.targetServerPassword',
    ])
    expect((await host.migration('GET', 'wrong')).status).toBe(404)
  })

  it('does not quote a body that is no JSON', async () => {
    const response = await fetch(`${host.url()}${SERVER}/migrations/broken?${VERSION}`, {
      method: 'PUT',
      headers: { 'x-functions-key': host.key() },
      body: '{"password": s3cr3t}',
    })
    expect(response.status).toBe(400)
    const text = await response.text()
    expect(text).toContain('InvalidRequestContent')
    expect(text).not.toContain('s3cr3t')
  })
})

describe('GET', () => {
  it('finds a migration whatever the case of the path', async () => {
    await create('MixedCase')
    const { status, body } = await host.request<Migration>(
      'GET',
      `${SERVER}/migrations/mixedcase`.toLowerCase() + `?${VERSION}`,
    )
    expect(status).toBe(200)
    expect(body.name).toBe('MixedCase')
  })

  it('answers 304 to who has it already', async () => {
    await create('cached')
    const url = `${host.url()}${SERVER}/migrations/cached?${VERSION}`
    const headers = { 'x-functions-key': host.key() }
    const etag = (await fetch(url, { headers })).headers.get('etag')!
    expect((await fetch(url, { headers: { ...headers, 'if-none-match': etag } })).status).toBe(304)
    await patch('cached', { overwriteDbsInTarget: 'True' })
    expect((await fetch(url, { headers: { ...headers, 'if-none-match': etag } })).status).toBe(200)
  })

  it('answers every version of the API that it knows, and names them when another is asked for', async () => {
    await create('versions')
    const get = (query: string): Promise<{ status: number; body: ErrorBody }> =>
      host.request<ErrorBody>('GET', `${SERVER}/migrations/versions${query}`)
    for (const version of ['2023-03-01-preview', '2024-08-01', '2026-07-01-preview']) {
      expect((await get(`?api-version=${version}`)).status).toBe(200)
    }
    expect(await get('')).toMatchObject({ status: 400, body: { error: { code: 'MissingApiVersionParameter' } } })
    expect(await get('?api-version=2022-05-01-preview')).toMatchObject({
      status: 400,
      body: { error: { code: 'UnsupportedApiVersion', message: expect.stringContaining('2025-08-01') } },
    })
  })

  it('lists the migrations of this server, those that have not ended unless all are asked for', async () => {
    await create('listed')
    await create('over')
    await host.migration('DELETE', 'over')
    await host.waitFor('over', 'it is cancelled', (one) => one.properties.currentStatus.state === 'Canceled')
    const list = async (query: string, server = SERVER): Promise<string[]> => {
      const { body } = await host.request<{ value: Migration[] }>('GET', `${server}/migrations?${VERSION}${query}`)
      return body.value.map(({ name }) => name)
    }
    expect(await list('')).toContain('listed')
    expect(await list('')).not.toContain('over')
    expect(await list('&migrationListFilter=all')).toEqual(expect.arrayContaining(['listed', 'over']))
    expect(await list('', SERVER.replace(/local$/, 'other'))).toEqual([])
    expect((await host.request('GET', `${SERVER}/migrations?${VERSION}&migrationListFilter=Some`)).status).toBe(400)
  })
})
