import { isAsked } from './record.ts'
import { databaseActions, databaseState, deriveState, isEnded } from '../status.ts'
import { cutoverReadiness } from './cutover-readiness.ts'
import { databaseFallback, fallbackActions, serverFallback, type FallbackOfDatabase } from './fallback.ts'
import { MIGRATION_TYPE } from './enums.ts'
import { serverIdOf } from './migration-id.ts'
import type { DatabaseDetail, Migration } from './migration-resource.ts'
import { databasePgflex, serverPgflex } from './pgflex-status.ts'
import type { MigrationRecord } from './record.ts'
import type { DatabaseStatus, ServerStatus } from './status.ts'

/**
 * The resource as the user sees it: what was asked, and where it stands. Every field is named here one by
 * one, so that nothing that is added to a record is answered by accident; secrets are not in a record.
 *
 * @param databases one status for each of `dbsToMigrate`
 * @param fallbacks their ways back, where the migration has such
 */
export function toResource(
  record: MigrationRecord,
  server: ServerStatus,
  databases: DatabaseStatus[],
  fallbacks: FallbackOfDatabase[] = [],
): Migration {
  const { properties } = record
  const lifecycle = deriveState(record, server, databases)
  const offline = properties.migrationMode === 'Offline'
  const ended = lifecycle.currentSubState === 'Completed'
  const cutovers = properties.dbsToMigrate.filter((name) => isAsked(record, 'cutover', name))
  const cancels = properties.dbsToMigrate.filter((name) => isAsked(record, 'cancel', name))
  const endTime = ended
    ? (server.endedAt ?? latest(databases.map(({ endedOn }) => endedOn)) ?? properties.migrationWindowEndTimeInUtc)
    : properties.migrationWindowEndTimeInUtc
  return withoutUndefined({
    id: record.id,
    name: record.name,
    type: MIGRATION_TYPE,
    location: record.location,
    tags: record.tags,
    properties: withoutUndefined({
      migrationId: record.migrationId,
      currentStatus: withoutUndefined({
        state: lifecycle.state,
        error: lifecycle.error,
        currentSubStateDetails: withoutUndefined({
          currentSubState: lifecycle.currentSubState,
          dbDetails: hasBegun(server, databases)
            ? Object.fromEntries(
                databases.map((status) => [status.database, databaseDetail(record, status, fallbacks)]),
              )
            : {},
          validationDetails: server.validation,
        }),
        pgflex: withoutUndefined({
          ...serverPgflex(server, databases, [
            ...lifecycle.actions,
            ...new Set(fallbacks.flatMap((one) => fallbackActions(record, one))),
          ]),
          fallback: serverFallback(fallbacks),
        }),
      }),
      migrationInstanceResourceId: properties.migrationInstanceResourceId,
      migrationMode: properties.migrationMode,
      migrationOption: properties.migrationOption,
      sourceType: properties.sourceType as Migration['properties']['sourceType'],
      sslMode: properties.sslMode,
      sourceDbServerMetadata: server.sourceVersion === undefined ? undefined : { version: server.sourceVersion },
      targetDbServerMetadata:
        server.targetVersion === undefined ? undefined : { location: record.location, version: server.targetVersion },
      sourceDbServerResourceId: properties.sourceDbServerResourceId,
      sourceDbServerFullyQualifiedDomainName: properties.sourceDbServerFullyQualifiedDomainName,
      targetDbServerResourceId: serverIdOf(record.id),
      targetDbServerFullyQualifiedDomainName: properties.targetDbServerFullyQualifiedDomainName,
      dbsToMigrate: properties.dbsToMigrate,
      setupLogicalReplicationOnSourceDbIfNeeded: flag(properties.setupLogicalReplicationOnSourceDbIfNeeded),
      overwriteDbsInTarget: flag(properties.overwriteDbsInTarget),
      migrationWindowStartTimeInUtc: properties.migrationWindowStartTimeInUtc,
      migrationWindowEndTimeInUtc: endTime,
      migrateRoles: flag(properties.migrateRoles),
      startDataMigration: properties.startDataMigration === undefined ? undefined : flag(properties.startDataMigration),
      // The service answers True for Offline: there the cutover comes by itself.
      triggerCutover: offline || cutovers.length > 0 ? 'True' : undefined,
      dbsToTriggerCutoverOn: cutovers.length > 0 ? cutovers : undefined,
      cancel: cancels.length > 0 ? 'True' : undefined,
      dbsToCancelMigrationOn: cancels.length > 0 ? cancels : undefined,
      pgflex: properties.pgflex,
    }),
  })
}

/** True when the migration of data has begun for at least one database: until then there are no details of it. */
function hasBegun(server: ServerStatus, databases: DatabaseStatus[]): boolean {
  return server.phase === 'Migrating' || databases.some((status) => status.phase !== 'Queued' || isEnded(status))
}

function databaseDetail(
  record: MigrationRecord,
  status: DatabaseStatus,
  fallbacks: FallbackOfDatabase[],
): DatabaseDetail {
  const way = fallbacks.find((one) => one.status === status)
  const actions = [...databaseActions(record, status), ...(way ? fallbackActions(record, way) : [])]
  const { tables, changes, latencySeconds } = status
  return withoutUndefined({
    databaseName: status.database,
    migrationState: databaseState(record, status),
    migrationOperation: status.phase,
    startedOn: status.startedOn,
    endedOn: status.endedOn,
    fullLoadQueuedTables: tables.queued,
    fullLoadErroredTables: tables.errored,
    fullLoadLoadingTables: tables.loading,
    fullLoadCompletedTables: tables.completed,
    cdcInsertCounter: changes.inserts,
    cdcUpdateCounter: changes.updates,
    cdcDeleteCounter: changes.deletes,
    appliedChanges: changes.applied,
    incomingChanges: changes.incoming,
    // Rounded up: 0 is said only when it is true. Unknown while nothing is followed yet.
    latency: latencySeconds === undefined ? undefined : Math.ceil(latencySeconds),
    message: status.message,
    pgflex: withoutUndefined({
      ...databasePgflex(status, actions, cutoverReadiness(record, status)),
      fallback: way && databaseFallback(way),
    }),
  })
}

function flag(value: boolean): 'True' | 'False' {
  return value ? 'True' : 'False'
}

function latest(times: (string | undefined)[]): string | undefined {
  return times
    .filter((time) => time !== undefined)
    .reduce<string | undefined>((a, b) => (a !== undefined && a > b ? a : b), undefined)
}

/** The wire leaves out what is not there. */
function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T
}
