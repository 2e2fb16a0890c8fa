import type { Surroundings } from './context.ts'
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
  return { record, server, databases }
}

/** The migrations of one server, oldest first. */
export async function listMigrations({ documents }: Documents, serverId: string): Promise<StoredMigration[]> {
  const prefix = `${serverId}/migrations/`.toLowerCase()
  const records = await listRecords(documents)
  return Promise.all(
    records.filter(({ id }) => id.toLowerCase().startsWith(prefix)).map((record) => withStatus({ documents }, record)),
  )
}

export function resourceOf({ record, server, databases }: StoredMigration): Migration {
  return toResource(record, server, databases)
}
