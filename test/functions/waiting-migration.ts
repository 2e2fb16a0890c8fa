import { join } from 'node:path'
import { expect } from 'vitest'
import { newDatabaseStatus } from '../../migration/model/status.ts'
import { fileDocuments } from '../../migration/store/file-documents.ts'
import {
  listRecords,
  updateDatabaseStatus,
  updateRecord,
  updateServerStatus,
} from '../../migration/store/migrations.ts'
import { substate, type MigrationHost } from '../support/migration-host.ts'

/** Easy to find in any file or answer. */
export const PASSWORDS = ['s3cr3t-of-the-source', 's3cr3t-of-the-target']

/**
 * The body of a migration that waits for its time, in years: the resource and its commands are tried without
 * any server. Its addresses are those of nobody.
 */
export function waitingBody(properties: Record<string, unknown> = {}): {
  location: string
  properties: Record<string, unknown>
} {
  return {
    location: 'local',
    properties: {
      migrationMode: 'Online',
      sourceType: 'OnPremises',
      sourceDbServerResourceId: '127.0.0.1:1@migrator',
      targetDbServerFullyQualifiedDomainName: '127.0.0.1:2',
      secretParameters: {
        adminCredentials: { sourceServerPassword: PASSWORDS[0], targetServerPassword: PASSWORDS[1] },
        targetServerUsername: 'target_admin',
      },
      dbsToMigrate: ['a', 'b'],
      migrationWindowStartTimeInUtc: '2099-01-01T00:00:00.000Z',
      ...properties,
    },
  }
}

/** Lets it look as if the databases of a migration followed their source, by what is stored of them. */
export async function pretendToFollow(
  { home }: Pick<MigrationHost, 'home'>,
  name: string,
  latencySeconds = 0,
): Promise<void> {
  const documents = fileDocuments(join(home, 'documents'))
  const record = (await listRecords(documents)).find((one) => one.name === name)!
  await updateServerStatus(documents, record.key, { phase: 'Migrating', waitingFor: undefined })
  for (const database of record.properties.dbsToMigrate) {
    await updateDatabaseStatus(documents, record.key, database, {
      ...newDatabaseStatus(database),
      phase: 'Following',
      migrationState: 'WaitingForCutoverTrigger',
      startedOn: '2026-11-22T08:00:00.000Z',
      latencySeconds,
      lagBytes: 0,
    })
  }
}

/** Lets it look as if the comparison that is asked for had ended, by what is stored of it. */
export async function pretendToVerify(
  { home }: Pick<MigrationHost, 'home'>,
  name: string,
  result: 'Equal' | 'Different',
): Promise<void> {
  const documents = fileDocuments(join(home, 'documents'))
  const record = (await listRecords(documents)).find((one) => one.name === name)!
  for (const database of record.properties.dbsToMigrate) {
    const verification = { mode: 'Checksums' as const, result, tables: 1, rows: 1, seconds: 1, differences: [] }
    await updateDatabaseStatus(documents, record.key, database, { verification })
  }
  await updateRecord(documents, record.key, (one) => ({ ...one, requests: { ...one.requests, verify: {} } }))
}

/** Creates a migration and waits until its orchestration has looked at it for the first time. */
export async function createWaiting(
  host: MigrationHost,
  name: string,
  properties: Record<string, unknown> = {},
): Promise<void> {
  expect((await host.migration('PUT', name, waitingBody(properties))).status).toBe(201)
  await host.waitFor(name, 'it waits for its window', (one) => substate(one) === 'WaitingForDataMigrationWindow')
}
