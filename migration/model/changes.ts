import { MigrationError } from '../errors.ts'
import { deriveState } from '../status.ts'
import { InvalidInput, type Problem } from './invalid-input.ts'
import { checkDatabases, sourceAddress, targetAddress } from './new-record.ts'
import type { MigrationProperties, MigrationRecord } from './record.ts'
import { isTrue, utc, type PatchBody } from './resource.ts'
import type { DatabaseStatus, ServerStatus } from './status.ts'

/** The part of a PATCH that is no command. */
type Changes = Omit<
  NonNullable<PatchBody['properties']>,
  'triggerCutover' | 'dbsToTriggerCutoverOn' | 'cancel' | 'dbsToCancelMigrationOn'
>

/**
 * The record with other properties; the same object when nothing is to be changed.
 *
 * @throws {MigrationError} InvalidInput, MigrationEnded, CannotChangeNow
 */
export function applyChanges(
  record: MigrationRecord,
  changes: Changes,
  server: ServerStatus,
  databases: DatabaseStatus[],
): MigrationRecord {
  const { secretParameters, pgflex: options = {}, ...rest } = changes
  const given = Object.values({ ...rest, ...options, secretParameters }).filter((value) => value !== undefined)
  if (given.length === 0) return record
  const { state, currentSubState } = deriveState(record, server, databases)
  if (currentSubState === 'Completed') {
    throw new MigrationError('MigrationEnded', `The migration has ended (${state}); it can no longer be changed.`)
  }
  const before = record.properties
  const properties: MigrationProperties = {
    ...before,
    ...pick(rest, [
      'sourceDbServerResourceId',
      'sourceDbServerFullyQualifiedDomainName',
      'targetDbServerFullyQualifiedDomainName',
      'dbsToMigrate',
    ]),
    ...flags(rest),
    ...(rest.migrationWindowStartTimeInUtc === undefined
      ? {}
      : { migrationWindowStartTimeInUtc: utc(rest.migrationWindowStartTimeInUtc) }),
    pgflex: {
      ...before.pgflex,
      ...pick(options, ['writeFreeze', 'verify', 'compareAll', 'maxLatencySecondsForCutover']),
    },
  }
  refuseLate(before, rest, server)
  const problems: Problem[] = []
  const moved = addresses(record, properties, changes, problems)
  if (rest.dbsToMigrate !== undefined) checkDatabases(rest.dbsToMigrate, problems)
  if (problems.length > 0) throw new InvalidInput(problems)
  return { ...record, ...moved, properties }
}

/** Where the servers are and who we are there, after the change. */
function addresses(
  record: MigrationRecord,
  properties: MigrationProperties,
  { secretParameters }: Changes,
  problems: Problem[],
): Pick<MigrationRecord, 'source' | 'target'> {
  const { source, target } = record
  const serverName = /\/flexibleServers\/([^/]+)/i.exec(record.id)?.[1] ?? ''
  const sameSource =
    properties.sourceDbServerResourceId === record.properties.sourceDbServerResourceId &&
    properties.sourceDbServerFullyQualifiedDomainName === record.properties.sourceDbServerFullyQualifiedDomainName
  const sourceUser =
    secretParameters?.sourceServerUsername ??
    // A new host:port@user names its own user.
    (properties.sourceDbServerResourceId === record.properties.sourceDbServerResourceId ? source.user : undefined)
  const users = {
    secretParameters: {
      ...(sourceUser === undefined ? {} : { sourceServerUsername: sourceUser }),
      targetServerUsername: secretParameters?.targetServerUsername ?? target.user,
    },
  }
  return {
    source: sameSource
      ? { ...source, user: sourceUser ?? source.user }
      : (sourceAddress({ ...properties, ...users }, problems) ?? source),
    target: targetAddress({ serverName }, { ...properties, ...users }, problems) ?? target,
  }
}

/** Changes that the work under way could no longer follow. */
function refuseLate(
  before: MigrationProperties,
  changes: Omit<Changes, 'secretParameters' | 'pgflex'>,
  server: ServerStatus,
): void {
  const begun = server.phase !== 'Queued' && server.phase !== 'Waiting'
  const { dbsToMigrate, migrationMode } = changes
  if (migrationMode !== undefined && migrationMode !== before.migrationMode) {
    throw cannotChange('migrationMode', 'Create another migration for the other mode.')
  }
  if (begun && dbsToMigrate !== undefined && !sameNames(dbsToMigrate, before.dbsToMigrate)) {
    throw cannotChange(
      'dbsToMigrate',
      'Cancel single databases with dbsToCancelMigrationOn, and create another migration for further ones.',
    )
  }
}

function cannotChange(field: string, hint: string): MigrationError {
  return new MigrationError('CannotChangeNow', `properties.${field} can no longer be changed.`, {
    target: `properties.${field}`,
    hint,
  })
}

function sameNames(a: string[], b: string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name))
}

const FLAGS = [
  'setupLogicalReplicationOnSourceDbIfNeeded',
  'overwriteDbsInTarget',
  'migrateRoles',
  'startDataMigration',
] as const

function flags(changes: Changes): Partial<Record<(typeof FLAGS)[number], boolean>> {
  return Object.fromEntries(
    FLAGS.filter((name) => changes[name] !== undefined).map((name) => [name, isTrue(changes[name])]),
  )
}

function pick<T extends object, K extends keyof T>(from: T, names: K[]): Partial<Pick<T, K>> {
  return Object.fromEntries(
    names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]),
  ) as Partial<Pick<T, K>>
}
