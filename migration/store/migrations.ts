import type { MigrationRecord } from '../model/record.ts'
import type { DatabaseStatus, MigrationEvent, ServerStatus } from '../model/status.ts'
import { newDatabaseStatus } from '../model/status.ts'
import { type DocumentStore, keyPart, update } from './documents.ts'

const recordKey = (key: string): string => `migrations/${key}/record`
const serverKey = (key: string): string => `migrations/${key}/server`
const databaseKey = (key: string, database: string): string => `migrations/${key}/databases/${keyPart(database)}`
const eventsKey = (key: string): string => `migrations/${key}/events`

/** Stores a new migration; false when one of that key is there already. */
export function createRecord(documents: DocumentStore, record: MigrationRecord): Promise<boolean> {
  return documents.write(recordKey(record.key), record, null)
}

export async function readRecord(documents: DocumentStore, key: string): Promise<MigrationRecord | undefined> {
  return (await documents.read<MigrationRecord>(recordKey(key)))?.value
}

/** All migrations, oldest first. */
export async function listRecords(documents: DocumentStore): Promise<MigrationRecord[]> {
  const keys = (await documents.list('migrations/')).filter((key) => key.endsWith('/record'))
  const records = await Promise.all(keys.map(async (key) => (await documents.read<MigrationRecord>(key))?.value))
  return records.filter((record) => record !== undefined).sort((a, b) => a.createdAt.localeCompare(b.createdAt))
}

/** @throws {Error} when there is no such migration */
export async function updateRecord(
  documents: DocumentStore,
  key: string,
  change: (record: MigrationRecord) => MigrationRecord,
): Promise<MigrationRecord> {
  const record = await update<MigrationRecord>(documents, recordKey(key), (current) => current && change(current))
  if (!record) throw new Error(`There is no migration ${key}.`)
  return record
}

export async function readServerStatus(documents: DocumentStore, key: string): Promise<ServerStatus> {
  return (await documents.read<ServerStatus>(serverKey(key)))?.value ?? { phase: 'Queued', warnings: [] }
}

export async function updateServerStatus(
  documents: DocumentStore,
  key: string,
  change: Partial<ServerStatus> | ((status: ServerStatus) => ServerStatus),
): Promise<ServerStatus> {
  const apply = typeof change === 'function' ? change : (status: ServerStatus) => ({ ...status, ...change })
  return (await update<ServerStatus>(documents, serverKey(key), (current) =>
    apply(current ?? { phase: 'Queued', warnings: [] }),
  ))!
}

export async function readDatabaseStatus(
  documents: DocumentStore,
  key: string,
  database: string,
): Promise<DatabaseStatus> {
  return (await documents.read<DatabaseStatus>(databaseKey(key, database)))?.value ?? newDatabaseStatus(database)
}

/** Changes the status of a database; a plain object is merged into its top level. */
export async function updateDatabaseStatus(
  documents: DocumentStore,
  key: string,
  database: string,
  change: Partial<DatabaseStatus> | ((status: DatabaseStatus) => DatabaseStatus),
): Promise<DatabaseStatus> {
  const apply = typeof change === 'function' ? change : (status: DatabaseStatus) => ({ ...status, ...change })
  return (await update<DatabaseStatus>(documents, databaseKey(key, database), (current) =>
    apply(current ?? newDatabaseStatus(database)),
  ))!
}

export function appendEvent(documents: DocumentStore, key: string, event: Omit<MigrationEvent, 'at'>): Promise<void> {
  return documents.append(eventsKey(key), { at: new Date().toISOString(), ...event } satisfies MigrationEvent)
}

export function readEvents(documents: DocumentStore, key: string): Promise<MigrationEvent[]> {
  return documents.readLines<MigrationEvent>(eventsKey(key))
}
