import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { serverId } from '../../migration/model/migration-id.ts'
import type { ErrorBody, Migration } from '../../migration/model/migration-resource.ts'
import { fileDocuments } from '../../migration/store/file-documents.ts'
import { listRecords } from '../../migration/store/migrations.ts'
import { startMigrationHost, type MigrationHost } from '../support/migration-host.ts'
import { createWaiting, pretendToFollow } from './waiting-migration.ts'

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

describe('PATCH', () => {
  it('stores a cutover before it is answered', async () => {
    await create('ready')
    await pretendToFollow(host, 'ready')
    const { status, body } = await patch('ready', { triggerCutover: 'True', dbsToTriggerCutoverOn: ['a'] })
    expect(status).toBe(200)
    expect(body.properties).toMatchObject({ triggerCutover: 'True', dbsToTriggerCutoverOn: ['a'] })
    const stored = (await listRecords(fileDocuments(join(host.home, 'documents')))).find(
      ({ name }) => name === 'ready',
    )!
    expect(Object.keys(stored.requests.cutover)).toEqual(['a'])
  })

  it.each([
    ['unready', {}, 409, 'CutoverNotReady'],
    ['unknowndb', { dbsToTriggerCutoverOn: ['x'] }, 400, 'InvalidInput'],
  ])('refuses a cutover: %s', async (name, properties, status, code) => {
    await create(name)
    const answer = await patch(name, { triggerCutover: 'True', ...properties })
    expect({ status: answer.status, code: answer.body.error.code }).toEqual({ status, code })
  })

  it('refuses a cutover of what is Offline, is late or has ended, with the codes of the service', async () => {
    await create('offline', { migrationMode: 'Offline' })
    expect(await patch('offline', { triggerCutover: 'True' })).toMatchObject({
      status: 400,
      body: { error: { code: '603114' } },
    })
    await create('late')
    await pretendToFollow(host, 'late', 31)
    expect(await patch('late', { triggerCutover: 'True' })).toMatchObject({
      status: 409,
      body: { error: { code: 'LatencyTooHigh' } },
    })
    expect((await patch('late', { triggerCutover: 'True', pgflex: { force: true } })).status).toBe(200)
    await create('ended')
    await patch('ended', { cancel: 'True' })
    await host.waitFor('ended', 'it is cancelled', (one) => one.properties.currentStatus.state === 'Canceled')
    expect(await patch('ended', { triggerCutover: 'True' })).toMatchObject({
      status: 409,
      body: { error: { code: '603113' } },
    })
  })

  it('changes what may be changed, and says of the rest that it cannot', async () => {
    await create('changed')
    const { status, body } = await patch('changed', { overwriteDBsInTarget: true, migrateRoles: 'true' })
    expect(status).toBe(200)
    expect(body.properties).toMatchObject({ overwriteDbsInTarget: 'True', migrateRoles: 'True' })
    expect(await patch('changed', { sslMode: 'Require' })).toMatchObject({
      status: 400,
      body: { error: { target: 'properties.sslMode' } },
    })
    expect((await patch('nobody', { cancel: 'True' })).status).toBe(404)
  })

  it('puts a new password where the old one was, and nowhere else', async () => {
    await create('rotated')
    const secretParameters = { adminCredentials: { sourceServerPassword: 's3cr3t-new' } }
    expect((await patch('rotated', { secretParameters })).status).toBe(200)
    const folder = join(host.home, 'secrets')
    const file = readdirSync(folder).find((name) => name.includes('rotated') && name.includes('source'))!
    expect(readFileSync(join(folder, file), 'utf8')).toBe('s3cr3t-new')
  })
})

describe('DELETE', () => {
  it('cancels what goes on, and has nothing to do for the rest', async () => {
    await create('dropped')
    const first = await host.migration<Migration>('DELETE', 'dropped')
    expect(first.status).toBe(200)
    expect(first.body.properties.cancel).toBe('True')
    await host.waitFor('dropped', 'it is cancelled', (one) => one.properties.currentStatus.state === 'Canceled')
    expect((await host.migration('DELETE', 'dropped')).status).toBe(204)
    expect((await host.migration('DELETE', 'nobody')).status).toBe(204)
  })
})

describe('the rest of the resource', () => {
  it('says whether a name is free', async () => {
    await create('used')
    const check = (body: unknown): Promise<{ status: number; body: unknown }> =>
      host.request('POST', `${SERVER}/checkMigrationNameAvailability?${VERSION}`, body)
    const type = 'Microsoft.DBforPostgreSQL/flexibleServers/migrations'
    expect((await check({ name: 'free', type })).body).toEqual({ name: 'free', type, nameAvailable: true })
    expect((await check({ Name: 'USED', Type: type.toLowerCase() })).body).toMatchObject({
      nameAvailable: false,
      reason: 'AlreadyExists',
    })
    expect((await check({ name: '-x', type })).body).toMatchObject({ nameAvailable: false, reason: 'Invalid' })
    expect((await check({ name: 'x', type: 'other' })).status).toBe(400)
  })

  it('has tables, events, samples and parameters, and says what it has not yet', async () => {
    await create('detailed')
    const get = <T>(below: string): Promise<{ status: number; body: T }> =>
      host.migration<T>('GET', 'detailed', undefined, below)
    expect(await get('/tables?database=a')).toMatchObject({ status: 200, body: { value: [] } })
    expect(await get('/samples')).toMatchObject({ status: 200, body: { value: [] } })
    expect(await get('/parameters')).toMatchObject({ status: 200, body: { value: [] } })
    expect((await get<{ value: { event: string }[] }>('/events')).body.value[0]).toMatchObject({
      event: 'MigrationCreated',
    })
    expect((await get('/tables?database=x')).status).toBe(400)
    expect((await get('/samples?since=soon')).status).toBe(400)
    expect(await get('/validation')).toMatchObject({ status: 404, body: { error: { code: 'ResourceNotFound' } } })
    expect(await host.migration('POST', 'detailed', { action: 'end' }, '/fallback')).toMatchObject({
      status: 409,
      body: { error: { code: 'FallbackNotOn' } },
    })
  })

  it('stores the request for a comparison before it is answered, and shows it', async () => {
    await create('compared')
    await pretendToFollow(host, 'compared')
    const verify = (body?: unknown): Promise<{ status: number; body: unknown }> =>
      host.migration('POST', 'compared', body, '/verify')
    const value = [
      { database: 'a', requested: true },
      { database: 'b', requested: false },
    ]
    expect(await verify({ databases: ['a'] })).toMatchObject({ status: 202, body: { value } })
    expect(await host.migration('GET', 'compared', undefined, '/verify')).toMatchObject({
      status: 200,
      body: { value },
    })
    const stored = (await listRecords(fileDocuments(join(host.home, 'documents')))).find(
      ({ name }) => name === 'compared',
    )!
    expect(Object.keys(stored.requests.verify!)).toEqual(['a'])
    expect(await verify({ databases: ['x'] })).toMatchObject({ status: 400, body: { error: { code: 'InvalidInput' } } })
    expect(await verify({ rows: 1 })).toMatchObject({ status: 400, body: { error: { code: 'InvalidInput' } } })
    expect((await verify()).status).toBe(202)
    expect((await host.migration('POST', 'nobody', undefined, '/verify')).status).toBe(404)
  })

  it('answers what the az command line asks for around its commands', async () => {
    const group = '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/local'
    expect((await host.request('GET', `${SERVER}?${VERSION}`)).body).toMatchObject({
      type: 'Microsoft.DBforPostgreSQL/flexibleServers',
      properties: { state: 'Ready' },
    })
    expect((await host.request('HEAD', `${group}?api-version=2024-11-01`)).status).toBe(204)
    expect((await host.request('GET', `${group}?api-version=2024-11-01`)).body).toMatchObject({ name: 'local' })
  })

  it('describes itself', async () => {
    const { status, body } = await host.request<{ paths: object }>('GET', '/openapi.json')
    expect(status).toBe(200)
    expect(Object.keys(body.paths)).toHaveLength(11)
  })

  it('has written no password anywhere but among the secrets', async () => {
    await create('secretive')
    expect(host.output()).not.toContain('s3cr3t')
    const files = readdirSync(host.home, { recursive: true, withFileTypes: true }).filter((file) => file.isFile())
    const leaks = files
      .map((file) => join(file.parentPath, file.name))
      .filter((path) => readFileSync(path, 'latin1').includes('s3cr3t'))
    expect(leaks.filter((path) => !path.startsWith(join(host.home, 'secrets')))).toEqual([])
    expect(leaks.length).toBeGreaterThan(0)
    const { body } = await host.request('GET', `${SERVER}/migrations?${VERSION}&migrationListFilter=All`)
    expect(JSON.stringify(body)).not.toMatch(/s3cr3t|secretParameters/)
  })
})
