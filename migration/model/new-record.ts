import type { SslMode } from '../connect.ts'
import { InvalidInput, problem, type Problem } from './invalid-input.ts'
import { migrationId, migrationKey, nameProblem, type MigrationPath } from './migration-id.ts'
import type { MigrationProperties, MigrationRecord, ServerAddress } from './record.ts'
import { isTrue, utc, type PutBody } from './resource.ts'
import { isAzureResourceId, parseHost, parseServerResourceId, sameServer } from './server-address.ts'

export interface NewRecordOptions {
  /** A GUID. */
  migrationId: string
  now: Date
}

/** template0 refuses connections and template1 is what databases are made from: neither holds anybody's data. */
const TEMPLATES = new Set(['template0', 'template1'])

/**
 * Turns the body of a PUT into a record: defaults filled in, addresses read.
 *
 * @throws {InvalidInput} with everything that is wrong with it, except missing passwords ({@link passwordProblems})
 */
export function newRecord(path: MigrationPath, body: PutBody, options: NewRecordOptions): MigrationRecord {
  const wrongName = nameProblem(path.migrationName)
  const problems: Problem[] = wrongName === undefined ? [] : [problem('migrationName', wrongName)]
  const { properties: asked } = body
  const source = sourceAddress(asked, problems)
  const target = targetAddress(path, asked, problems)
  checkDatabases(asked.dbsToMigrate, problems)
  if (source && target && sameServer(source, target)) {
    problems.push(
      problem(
        'properties.targetDbServerFullyQualifiedDomainName',
        `Source and target are the same server, ${target.host}:${target.port}.`,
      ),
    )
  }
  const createdAt = options.now.toISOString()
  const properties = normalized(asked, createdAt)
  if (
    properties.migrationWindowEndTimeInUtc !== undefined &&
    properties.migrationWindowEndTimeInUtc <= properties.migrationWindowStartTimeInUtc
  ) {
    problems.push(
      problem(
        'properties.migrationWindowEndTimeInUtc',
        'properties.migrationWindowEndTimeInUtc is not after the start.',
      ),
    )
  }
  if (properties.pgflex.fallback === 'ReverseReplication' && properties.migrationMode === 'Offline') {
    problems.push(
      problem(
        'properties.pgflex.fallback',
        'properties.pgflex.fallback ReverseReplication needs migrationMode Online: an Offline copy says nothing of the source after it.',
      ),
    )
  }
  if (problems.length > 0) throw new InvalidInput(problems)
  return {
    key: migrationKey(path),
    id: migrationId(path),
    name: path.migrationName,
    location: body.location ?? 'local',
    ...(body.tags === undefined ? {} : { tags: body.tags }),
    migrationId: options.migrationId,
    createdAt,
    properties,
    source: source!,
    target: target!,
    requests: { cutover: {}, cancel: {} },
  }
}

/** The passwords that a new migration needs and its body doesn't have. */
export function passwordProblems(body: PutBody, { targetToken }: { targetToken: boolean }): Problem[] {
  const given = body.properties.secretParameters?.adminCredentials
  const target = 'properties.secretParameters.adminCredentials'
  return [
    ...(given?.sourceServerPassword === undefined
      ? [problem(`${target}.sourceServerPassword`, `${target}.sourceServerPassword is missing.`)]
      : []),
    ...(given?.targetServerPassword === undefined && !targetToken
      ? [problem(`${target}.targetServerPassword`, `${target}.targetServerPassword is missing.`)]
      : []),
  ]
}

/** What a new migration cannot be asked for yet: commands belong into a PATCH. */
export function commandProblems(body: PutBody): Problem[] {
  const { properties } = body
  const offline = (properties.migrationMode ?? 'Offline') === 'Offline'
  return [
    ...(isTrue(properties.triggerCutover) && !offline
      ? [
          problem(
            'properties.triggerCutover',
            'properties.triggerCutover cannot be True yet: ask for the cutover with a PATCH when the migration waits for it.',
          ),
        ]
      : []),
    ...(isTrue(properties.cancel) ? [problem('properties.cancel', 'A migration cannot be created cancelled.')] : []),
  ]
}

function normalized(asked: PutBody['properties'], createdAt: string): MigrationProperties {
  // As the service: what names no type is a Single Server, but only a resource id can name one.
  const singleServer = asked.sourceDbServerResourceId !== undefined && isAzureResourceId(asked.sourceDbServerResourceId)
  const sourceType = asked.sourceType ?? (singleServer ? 'PostgreSQLSingleServer' : 'OnPremises')
  const sslMode: SslMode = asked.sslMode ?? (sourceType === 'PostgreSQLSingleServer' ? 'VerifyFull' : 'Prefer')
  return defined({
    migrationMode: asked.migrationMode ?? 'Offline',
    migrationOption: asked.migrationOption ?? 'ValidateAndMigrate',
    sourceType,
    sslMode,
    sourceDbServerResourceId: asked.sourceDbServerResourceId,
    sourceDbServerFullyQualifiedDomainName: asked.sourceDbServerFullyQualifiedDomainName,
    targetDbServerFullyQualifiedDomainName: asked.targetDbServerFullyQualifiedDomainName,
    migrationInstanceResourceId: asked.migrationInstanceResourceId,
    dbsToMigrate: asked.dbsToMigrate ?? [],
    setupLogicalReplicationOnSourceDbIfNeeded: isTrue(asked.setupLogicalReplicationOnSourceDbIfNeeded),
    overwriteDbsInTarget: isTrue(asked.overwriteDbsInTarget),
    migrateRoles: isTrue(asked.migrateRoles),
    startDataMigration: asked.startDataMigration === undefined ? undefined : isTrue(asked.startDataMigration),
    migrationWindowStartTimeInUtc:
      asked.migrationWindowStartTimeInUtc === undefined ? createdAt : utc(asked.migrationWindowStartTimeInUtc),
    migrationWindowEndTimeInUtc:
      asked.migrationWindowEndTimeInUtc === undefined ? undefined : utc(asked.migrationWindowEndTimeInUtc),
    pgflex: defined(asked.pgflex),
  })
}

export function checkDatabases(names: string[] | undefined, problems: Problem[]): void {
  const target = 'properties.dbsToMigrate'
  if (names === undefined) problems.push(problem(target, `${target} is missing: name the databases to migrate.`))
  for (const name of names ?? []) {
    if (TEMPLATES.has(name)) problems.push(problem(target, `"${name}" is a template database and is not migrated.`))
  }
}

type Addressing = Pick<
  PutBody['properties'],
  | 'sourceDbServerResourceId'
  | 'sourceDbServerFullyQualifiedDomainName'
  | 'targetDbServerFullyQualifiedDomainName'
  | 'secretParameters'
>

/** The address: the domain name where there is one, else that of the resource id. The user: secretParameters first. */
export function sourceAddress(asked: Addressing, problems: Problem[]): ServerAddress | undefined {
  const { sourceDbServerResourceId: id, sourceDbServerFullyQualifiedDomainName: fqdn, secretParameters } = asked
  const before = problems.length
  const fromId = id === undefined ? undefined : parseServerResourceId(id)
  if (id === undefined && fqdn === undefined) {
    problems.push(
      problem(
        'properties.sourceDbServerResourceId',
        'properties.sourceDbServerResourceId is missing: give the source as host:port@user.',
      ),
    )
  }
  if (id !== undefined && !fromId) {
    problems.push(
      problem('properties.sourceDbServerResourceId', 'properties.sourceDbServerResourceId must be host:port@user.'),
    )
  }
  // A domain name without a port keeps the port of the resource id.
  const address =
    fqdn === undefined ? fromId : hostOf('sourceDbServerFullyQualifiedDomainName', fqdn, problems, fromId?.port)
  const user = secretParameters?.sourceServerUsername ?? fromId?.user
  if (problems.length === before && user === undefined) {
    problems.push(
      problem(
        'properties.secretParameters.sourceServerUsername',
        'The user of the source is missing: give properties.secretParameters.sourceServerUsername, or host:port@user as sourceDbServerResourceId.',
      ),
    )
  }
  return address && user !== undefined ? { host: address.host, port: address.port, user } : undefined
}

export function targetAddress(
  path: { serverName: string },
  asked: Addressing,
  problems: Problem[],
): ServerAddress | undefined {
  const fqdn = asked.targetDbServerFullyQualifiedDomainName
  const address =
    fqdn === undefined
      ? { host: `${path.serverName.toLowerCase()}.postgres.database.azure.com`, port: 5432 }
      : hostOf('targetDbServerFullyQualifiedDomainName', fqdn, problems)
  const user = asked.secretParameters?.targetServerUsername
  if (user === undefined) {
    problems.push(
      problem(
        'properties.secretParameters.targetServerUsername',
        'properties.secretParameters.targetServerUsername is missing.',
      ),
    )
  }
  return address && user !== undefined ? { ...address, user } : undefined
}

function hostOf(
  field: 'sourceDbServerFullyQualifiedDomainName' | 'targetDbServerFullyQualifiedDomainName',
  text: string,
  problems: Problem[],
  defaultPort?: number,
): { host: string; port: number } | undefined {
  const address = parseHost(text, defaultPort)
  if (!address) {
    problems.push(
      problem(`properties.${field}`, `properties.${field} must be host or host:port, an IPv6 address in brackets.`),
    )
  }
  return address
}

/** Leaves out what is undefined, so that records compare by their JSON. */
function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T
}
