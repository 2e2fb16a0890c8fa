import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PostgreSQLManagementFlexibleServerClient } from '@azure/arm-postgresql-flexible'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startHost, type RunningHost } from '../../host/start-host.ts'
import { selfSignedCertificate } from '../host/self-signed-certificate.ts'
import { pretendToFollow, waitingBody } from './waiting-migration.ts'

let home: string
let host: RunningHost
let client: PostgreSQLManagementFlexibleServerClient

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'pgflex-home-'))
  const { cert, key } = selfSignedCertificate()
  const [certFile, keyFile] = [join(home, 'tls.crt'), join(home, 'tls.key')]
  writeFileSync(certFile, cert)
  writeFileSync(keyFile, key, { mode: 0o600 })
  host = await startHost({ home, args: ['--tls-cert', certFile, '--tls-key', keyFile] })
  const credential = {
    getToken: () => Promise.resolve({ token: host.key, expiresOnTimestamp: Date.now() + 3_600_000 }),
  }
  client = new PostgreSQLManagementFlexibleServerClient(credential, '00000000-0000-0000-0000-000000000000', {
    endpoint: host.url,
    tlsOptions: { ca: cert },
    retryOptions: { maxRetries: 0 },
  })
})

afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
  rmSync(home, { recursive: true, force: true })
})

it('creates, reads, lists, updates and cancels migrations over HTTPS', async () => {
  const { location, properties } = waitingBody()
  const parameters = {
    location,
    ...properties,
    migrationWindowStartTimeInUtc: new Date('2099-01-01T00:00:00Z'),
    migrateRoles: 'True',
  }
  const created = await client.migrations.create('group', 'target', 'by-sdk', parameters)
  expect(created).toMatchObject({
    name: 'by-sdk',
    migrationMode: 'Online',
    migrateRoles: 'True',
    dbsToMigrate: ['a', 'b'],
    migrationWindowStartTimeInUtc: new Date('2099-01-01T00:00:00Z'),
  })
  expect(created.currentStatus?.state).toBeOneOf(['InProgress', 'WaitingForUserAction'])

  await expect
    .poll(
      async () =>
        (await client.migrations.get('group', 'target', 'by-sdk')).currentStatus?.currentSubStateDetails
          ?.currentSubState,
    )
    .toBe('WaitingForDataMigrationWindow')
  const names: (string | undefined)[] = []
  for await (const one of client.migrations.listByTargetServer('group', 'target', { migrationListFilter: 'All' }))
    names.push(one.name)
  expect(names).toEqual(['by-sdk'])

  await pretendToFollow({ home }, 'by-sdk')
  const following = await client.migrations.get('group', 'target', 'by-sdk')
  expect(following.currentStatus?.currentSubStateDetails?.dbDetails?.['a']).toMatchObject({
    migrationState: 'WaitingForCutoverTrigger',
    latency: 0,
    cdcInsertCounter: 0,
  })
  const cutover = await client.migrations.update('group', 'target', 'by-sdk', {
    triggerCutover: 'True',
    dbsToTriggerCutoverOn: ['a'],
  })
  expect(cutover).toMatchObject({ triggerCutover: 'True', dbsToTriggerCutoverOn: ['a'] })
  expect((await client.migrations.cancel('group', 'target', 'by-sdk')).cancel).toBe('True')
})

it('checks names, and reads errors with their code', async () => {
  const type = 'Microsoft.DBforPostgreSQL/flexibleServers/migrations'
  expect(await client.migrations.checkNameAvailability('group', 'target', { name: 'free', type })).toMatchObject({
    nameAvailable: true,
  })
  await expect(client.migrations.get('group', 'target', 'nobody')).rejects.toMatchObject({
    statusCode: 404,
    code: 'ResourceNotFound',
  })
  await expect(
    client.migrations.create('group', 'target', 'wrong', { location: 'local', migrationMode: 'Online' }),
  ).rejects.toMatchObject({ statusCode: 400, code: 'InvalidInput' })
  await client.migrations.cancel('group', 'target', 'nobody')
  expect((await client.servers.get('group', 'target')).state).toBe('Ready')
})
