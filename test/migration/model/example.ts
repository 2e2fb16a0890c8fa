import { newDatabaseStatus, type DatabaseStatus, type ServerStatus } from '../../../migration/model/status.ts'
import type { MigrationPath } from '../../../migration/model/migration-id.ts'
import { newRecord } from '../../../migration/model/new-record.ts'
import type { MigrationRecord } from '../../../migration/model/record.ts'
import { parsePut } from '../../../migration/model/resource.ts'

export const PATH: MigrationPath = {
  subscriptionId: '00000000-0000-0000-0000-000000000000',
  resourceGroupName: 'group',
  serverName: 'target',
  migrationName: 'orders',
}

export const SECRETS = ['s3cr3t-source', 's3cr3t-target']

/** The body of a PUT that is right. */
export function putBody(properties: Record<string, unknown> = {}): {
  location: string
  properties: Record<string, unknown>
} {
  return {
    location: 'westeurope',
    properties: {
      migrationMode: 'Online',
      sourceType: 'OnPremises',
      sourceDbServerResourceId: 'source.example.com:5433@migrator',
      secretParameters: {
        adminCredentials: { sourceServerPassword: SECRETS[0], targetServerPassword: SECRETS[1] },
        targetServerUsername: 'target_admin',
      },
      dbsToMigrate: ['a', 'b'],
      ...properties,
    },
  }
}

export function record(properties: Record<string, unknown> = {}): MigrationRecord {
  return newRecord(PATH, parsePut(putBody(properties)), {
    migrationId: '11111111-2222-4333-8444-555555555555',
    now: new Date('2026-11-22T08:00:00Z'),
  })
}

export function server(status: Partial<ServerStatus> = {}): ServerStatus {
  return { phase: 'Migrating', warnings: [], ...status }
}

export function database(name: string, status: Partial<DatabaseStatus> = {}): DatabaseStatus {
  return { ...newDatabaseStatus(name), ...status }
}

/** A database that follows the source and waits for its cutover. */
export function waiting(name: string, status: Partial<DatabaseStatus> = {}): DatabaseStatus {
  return database(name, {
    phase: 'Following',
    migrationState: 'WaitingForCutoverTrigger',
    startedOn: '2026-11-22T08:01:00.000Z',
    latencySeconds: 0,
    lagBytes: 0,
    ...status,
  })
}
