import type { SslMode } from '../connect.ts'

/** What the user asked for, normalized: enums in their canonical spelling, flags as booleans, defaults filled in. */
export interface MigrationProperties {
  migrationMode: 'Online' | 'Offline'
  migrationOption: 'Validate' | 'Migrate' | 'ValidateAndMigrate'
  sourceType: string
  sslMode: SslMode
  sourceDbServerResourceId?: string
  sourceDbServerFullyQualifiedDomainName?: string
  targetDbServerFullyQualifiedDomainName?: string
  migrationInstanceResourceId?: string
  dbsToMigrate: string[]
  setupLogicalReplicationOnSourceDbIfNeeded: boolean
  overwriteDbsInTarget: boolean
  migrateRoles: boolean
  startDataMigration?: boolean
  migrationWindowStartTimeInUtc: string
  migrationWindowEndTimeInUtc?: string
  pgflex: PgflexOptions
}

/** Our own options under `properties.pgflex`, with their defaults filled in. */
export interface PgflexOptions {
  writeFreeze: 'Automatic' | 'Manual'
  verify: 'Checksums' | 'Counts' | 'None'
  compareAll?: boolean
  fallback: 'None' | 'ReverseReplication'
  serverParameters: 'Copy' | 'Report' | 'Skip'
  includeTables?: string[]
  excludeTables?: string[]
  copyJobs?: number
  maxCopyBytesPerSecond?: number
  indexJobs?: number
  maxLatencySecondsForCutover: number
  replicaIdentity: 'Report' | 'Set'
}

export interface ServerAddress {
  host: string
  port: number
  user: string
}

/** A migration as it is stored: the resource without its secrets, and what the user has asked for since. */
export interface MigrationRecord {
  /** Document key part and id of the orchestration instance: `[A-Za-z0-9-]`. */
  key: string
  /** Azure Resource Manager id, in the casing of its creation. */
  id: string
  name: string
  location: string
  tags?: Record<string, string>
  /** GUID, as Azure gives one. */
  migrationId: string
  /** ISO 8601, UTC */
  createdAt: string
  properties: MigrationProperties
  source: ServerAddress
  target: ServerAddress
  requests: Requests
}

/** Commands of the user. A request stays until it is carried out or refused; asking twice is asking once. */
export interface Requests {
  /** By database: when cutover was asked for. */
  cutover: Record<string, { at: string; force: boolean }>
  /** By database: when its cancellation was asked for. */
  cancel: Record<string, { at: string }>
  /** By database: when a comparison while following was asked for; none in a record of an earlier version. */
  verify?: Record<string, { at: string }>
  /** By database: what was asked of its way back after the cutover. */
  fallback?: Record<string, { action: 'switchBack' | 'end'; at: string }>
}

/** Whether the user has asked for it; a database may be named "constructor". */
export function isAsked({ requests }: MigrationRecord, what: keyof Requests, database: string): boolean {
  return Object.hasOwn(requests[what] ?? {}, database)
}

/** True when the user has cancelled every database of the migration. */
export function isCanceled(record: MigrationRecord): boolean {
  return record.properties.dbsToMigrate.every((database) => isAsked(record, 'cancel', database))
}
