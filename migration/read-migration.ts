import type { Surroundings } from './context.ts'
import { backKey } from './fallback/reversed-context.ts'
import type { FallbackOfDatabase } from './model/fallback.ts'
import type { Migration } from './model/migration-resource.ts'
import type { MigrationRecord } from './model/record.ts'
import type { DatabaseStatus, ServerStatus } from './model/status.ts'
import { toResource } from './model/wire.ts'
import { listRecords, readDatabaseStatus, readRecord, readServerStatus } from './store/migrations.ts'

/** Everything that is stored of a migration. */
export interface StoredMigration {
  record: MigrationRecord
  server: ServerStatus
  /** One for each of `dbsToMigrate`, in their order. */
  databases: DatabaseStatus[]
  /** The status of each database's way back, where the migration has one. */
  backs?: DatabaseStatus[]
}

type Documents = Pick<Surroundings, 'documents'>

export async function readMigration({ documents }: Documents, key: string): Promise<StoredMigration | undefined> {
  const record = await readRecord(documents, key)
  return record && withStatus({ documents }, record)
}

export async function withStatus({ documents }: Documents, record: MigrationRecord): Promise<StoredMigration> {
  const [server, ...databases] = await Promise.all([
    readServerStatus(documents, record.key),
    ...record.properties.dbsToMigrate.map((database) => readDatabaseStatus(documents, record.key, database)),
  ])
  if (record.properties.pgflex.fallback === 'None') return { record, server, databases }
  const backs = await Promise.all(
    record.properties.dbsToMigrate.map((database) => readDatabaseStatus(documents, backKey(record.key), database)),
  )
  return { record, server, databases, backs }
}

/** Each database with its way back; none where the migration has no ways back. */
export function readFallbacks({ databases, backs = [] }: StoredMigration): FallbackOfDatabase[] {
  return backs.map((back, n) => ({ back, status: databases[n]! }))
}

/** The migrations of one server, oldest first. */
export async function listMigrations({ documents }: Documents, serverId: string): Promise<StoredMigration[]> {
  const prefix = `${serverId}/migrations/`.toLowerCase()
  const records = await listRecords(documents)
  return Promise.all(
    records.filter(({ id }) => id.toLowerCase().startsWith(prefix)).map((record) => withStatus({ documents }, record)),
  )
}

export function resourceOf(stored: StoredMigration): Migration {
  return toResource(stored.record, stored.server, stored.databases, readFallbacks(stored))
}
