import { describe, expect, it } from 'vitest'
import { InvalidInput } from '../../../migration/model/invalid-input.ts'
import { commandProblems, newRecord, passwordProblems } from '../../../migration/model/new-record.ts'
import { parsePatch, parsePut } from '../../../migration/model/resource.ts'
import { toResource } from '../../../migration/model/wire.ts'
import { database, PATH, putBody, record, server } from './example.ts'

/** The problems of a request: what it says by field. */
function problemsOf(act: () => unknown): Record<string, string> {
  try {
    act()
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error
    return Object.fromEntries(error.details.map(({ target, message }) => [target, message]))
  }
  return {}
}

const created = (properties: Record<string, unknown>): unknown => record(properties)

describe('the body of a PUT', () => {
  it('becomes a record with the defaults filled in', () => {
    const made = record()
    expect(made.source).toEqual({ host: 'source.example.com', port: 5433, user: 'migrator' })
    expect(made.target).toEqual({ host: 'target.postgres.database.azure.com', port: 5432, user: 'target_admin' })
    expect(made.properties).toEqual({
      migrationMode: 'Online',
      migrationOption: 'ValidateAndMigrate',
      sourceType: 'OnPremises',
      sslMode: 'Prefer',
      sourceDbServerResourceId: 'source.example.com:5433@migrator',
      dbsToMigrate: ['a', 'b'],
      setupLogicalReplicationOnSourceDbIfNeeded: false,
      overwriteDbsInTarget: false,
      migrateRoles: false,
      migrationWindowStartTimeInUtc: '2026-11-22T08:00:00.000Z',
      pgflex: {
        writeFreeze: 'Automatic',
        verify: 'Checksums',
        fallback: 'None',
        serverParameters: 'Copy',
        maxLatencySecondsForCutover: 30,
        replicaIdentity: 'Report',
      },
    })
  })

  it('may have the old spelling of the keys, as the properties files of the tutorials do', () => {
    const body = {
      Location: 'westeurope',
      Properties: {
        MigrationMode: 'online',
        migrationoption: 'VALIDATE',
        SourceType: 'aws_rds',
        SslMode: 'verifyca',
        SourceDBServerResourceId: '10.0.0.1:5432@u',
        SourceDBServerFullyQualifiedDomainName: 'db.example.com',
        TargetDBServerFullyQualifiedDomainName: 'target.example.com:6432',
        SecretParameters: {
          AdminCredentials: { SourceServerPassword: 'x', TargetServerPassword: 'y' },
          sourceServerUserName: 'source_user',
          targetServerUserName: 'target_user',
        },
        dBsToMigrate: ['A'],
        OverwriteDBsInTarget: true,
        SetupLogicalReplicationOnSourceDBIfNeeded: 'true',
        migrateRoles: 'TRUE',
        migrationRuntimeResourceId: '/subscriptions/x',
        pgflex: { WriteFreeze: 'manual', verify: 'COUNTS', maxlatencysecondsforcutover: 5 },
      },
    }
    const { properties, source, target } = newRecord(PATH, parsePut(body), { migrationId: '', now: new Date() })
    expect(source).toEqual({ host: 'db.example.com', port: 5432, user: 'source_user' })
    expect(target).toEqual({ host: 'target.example.com', port: 6432, user: 'target_user' })
    expect(properties).toMatchObject({
      migrationMode: 'Online',
      migrationOption: 'Validate',
      sourceType: 'AWS_RDS',
      sslMode: 'VerifyCA',
      dbsToMigrate: ['A'],
      overwriteDbsInTarget: true,
      setupLogicalReplicationOnSourceDbIfNeeded: true,
      migrateRoles: true,
      migrationInstanceResourceId: '/subscriptions/x',
      pgflex: { writeFreeze: 'Manual', verify: 'Counts', maxLatencySecondsForCutover: 5 },
    })
  })

  it('takes the later of two spellings of one key, since the az command line appends its options to the file', () => {
    expect(record({ migrationMode: 'offline', MigrationMode: 'Online' }).properties.migrationMode).toBe('Online')
  })

  it.each([
    ['host:5433@user', 'host', 5433, 'user'],
    ['host@user', 'host', 5432, 'user'],
    ['10.1.2.3:5432@admin@oldserver', '10.1.2.3', 5432, 'admin@oldserver'],
    ['[2001:db8::1]:5433@user', '2001:db8::1', 5433, 'user'],
    ['[::1]@user', '::1', 5432, 'user'],
    ['2001:db8::1@user', '2001:db8::1', 5432, 'user'],
  ])('reads the source %s', (sourceDbServerResourceId, host, port, user) => {
    expect(record({ sourceDbServerResourceId }).source).toEqual({ host, port, user })
  })

  it('keeps the port of the resource id when the domain name has none', () => {
    const fqdn = { sourceDbServerFullyQualifiedDomainName: 'db.example.com' }
    expect(record(fqdn).source).toEqual({ host: 'db.example.com', port: 5433, user: 'migrator' })
  })

  it('takes the resource id of a server on Azure as a Single Server with a verified certificate', () => {
    const made = record({
      sourceType: undefined,
      sourceDbServerResourceId: '/subscriptions/s/resourceGroups/g/providers/Microsoft.DBforPostgreSQL/servers/Old',
      secretParameters: { sourceServerUsername: 'admin@old', targetServerUsername: 't' },
    })
    expect(made.source).toEqual({ host: 'old.postgres.database.azure.com', port: 5432, user: 'admin@old' })
    expect(made.properties).toMatchObject({ sourceType: 'PostgreSQLSingleServer', sslMode: 'VerifyFull' })
  })

  it('takes a time without a zone as UTC, and one with seven digits after the second', () => {
    expect(
      record({ migrationWindowStartTimeInUtc: '2027-01-01T10:00:00' }).properties.migrationWindowStartTimeInUtc,
    ).toBe('2027-01-01T10:00:00.000Z')
    expect(
      record({ migrationWindowStartTimeInUtc: '2027-01-01T10:00:00.1234567+02:00' }).properties
        .migrationWindowStartTimeInUtc,
    ).toBe('2027-01-01T08:00:00.123Z')
  })

  it('may be a GET result that is put back', () => {
    const resource = toResource(record(), server({ phase: 'Queued' }), [database('a'), database('b')])
    expect(problemsOf(() => parsePut({ ...resource, systemData: {}, etag: 'x' }))).toEqual({})
  })

  it('names every problem with its field at once', () => {
    const problems = problemsOf(() =>
      parsePut(
        putBody({
          migrationMode: 'Onlin',
          dbToMigrate: ['a'],
          dbsToMigrate: 'a',
          foo: 1,
          pgflex: { verify: 'No', writeFreez: 1 },
        }),
      ),
    )
    expect(problems).toEqual({
      'properties.migrationMode': 'properties.migrationMode must be one of Offline, Online.',
      'properties.dbToMigrate': 'There is no field properties.dbToMigrate. Did you mean dbsToMigrate?',
      'properties.dbsToMigrate': 'properties.dbsToMigrate must be an array.',
      'properties.foo': expect.stringMatching(
        /^There is no field properties\.foo\. Known are sourceDbServerResourceId, /,
      ),
      'properties.pgflex.verify': 'properties.pgflex.verify must be one of Checksums, Counts, None.',
      'properties.pgflex.writeFreez': 'There is no field properties.pgflex.writeFreez. Did you mean writeFreeze?',
    })
  })

  it.each([
    [{ sourceDbServerResourceId: 'no user here' }, 'properties.sourceDbServerResourceId', /host:port@user/],
    [{ sourceDbServerResourceId: 'host:99999@user' }, 'properties.sourceDbServerResourceId', /host:port@user/],
    [{ sourceDbServerResourceId: undefined }, 'properties.sourceDbServerResourceId', /is missing/],
    [{ sourceDbServerResourceId: 'host:5432' }, 'properties.secretParameters.sourceServerUsername', /is missing/],
    [
      { targetDbServerFullyQualifiedDomainName: 'a b' },
      'properties.targetDbServerFullyQualifiedDomainName',
      /host or host:port/,
    ],
    [{ secretParameters: {} }, 'properties.secretParameters.targetServerUsername', /is missing/],
    [{ dbsToMigrate: undefined }, 'properties.dbsToMigrate', /is missing/],
    [{ dbsToMigrate: [] }, 'properties.dbsToMigrate', /at least one/],
    [{ dbsToMigrate: ['a', 'a'] }, 'properties.dbsToMigrate', /twice/],
    [{ dbsToMigrate: ['template1'] }, 'properties.dbsToMigrate', /template database/],
    [{ dbsToMigrate: ['x'.repeat(64)] }, 'properties.dbsToMigrate.0', /63 bytes/],
    [{ migrationWindowStartTimeInUtc: 'soon' }, 'properties.migrationWindowStartTimeInUtc', /must be a time/],
    [{ overwriteDbsInTarget: 'yes' }, 'properties.overwriteDbsInTarget', /True, False/],
    [{ pgflex: { copyJobs: 0 } }, 'properties.pgflex.copyJobs', /./],
    [
      { migrationMode: 'Offline', pgflex: { fallback: 'ReverseReplication' } },
      'properties.pgflex.fallback',
      /needs migrationMode Online/,
    ],
    [{ pgflex: { includeTables: ['orders'] } }, 'properties.pgflex.includeTables.0', /schema\.table/],
    [
      { targetDbServerFullyQualifiedDomainName: 'SOURCE.example.com:5433' },
      'properties.targetDbServerFullyQualifiedDomainName',
      /same server/,
    ],
    [
      { sourceDbServerResourceId: 'localhost:5432@u', targetDbServerFullyQualifiedDomainName: '127.0.0.1' },
      'properties.targetDbServerFullyQualifiedDomainName',
      /same server/,
    ],
  ])('is refused for %j', (properties, field, message) => {
    expect(problemsOf(() => created(properties))).toEqual({ [field]: expect.stringMatching(message) })
  })

  it('accepts two servers that differ in their port only', () => {
    expect(
      problemsOf(() =>
        created({
          sourceDbServerResourceId: 'localhost:5432@u',
          targetDbServerFullyQualifiedDomainName: 'localhost:5433',
        }),
      ),
    ).toEqual({})
  })

  it.each([
    ['orders', true],
    ['Orders-2', true],
    ['e2c2bc23-0582-4bd7-b174-621067f6cda2', true],
    ['-a', false],
    ['a-', false],
    ['a_b', false],
    ['a'.repeat(63), true],
    ['a'.repeat(64), false],
  ])('names a migration %s: %s', (migrationName, right) => {
    const problems = problemsOf(() =>
      newRecord({ ...PATH, migrationName }, parsePut(putBody()), { migrationId: '', now: new Date() }),
    )
    expect(Object.keys(problems)).toEqual(right ? [] : ['migrationName'])
  })

  it('needs both passwords, unless the target is reached with a token', () => {
    const body = parsePut(putBody({ secretParameters: { targetServerUsername: 't' } }))
    const fields = (token: boolean): string[] =>
      passwordProblems(body, { targetToken: token }).map(({ target }) => target)
    expect(fields(false)).toEqual([
      'properties.secretParameters.adminCredentials.sourceServerPassword',
      'properties.secretParameters.adminCredentials.targetServerPassword',
    ])
    expect(fields(true)).toEqual(['properties.secretParameters.adminCredentials.sourceServerPassword'])
  })

  it('cannot ask for the cutover of an Online migration, or its cancellation', () => {
    expect(commandProblems(parsePut(putBody({ triggerCutover: 'True', cancel: true })))).toHaveLength(2)
    expect(commandProblems(parsePut(putBody({ migrationMode: 'Offline', triggerCutover: 'True' })))).toEqual([])
  })

  it('never shows a value in what it says is wrong', () => {
    const secretParameters = {
      adminCredentials: { sourceServerPassword: ['s3cr3t'], targetServerPassword: 's3cr3t' },
      x: 's3cr3t',
    }
    const problems = problemsOf(() => parsePut(putBody({ secretParameters })))
    expect(Object.keys(problems)).toHaveLength(2)
    expect(JSON.stringify(problems)).not.toContain('s3cr3t')
  })

  it('treats a key like __proto__ as an unknown field', () => {
    expect(Object.keys(problemsOf(() => parsePut(JSON.parse('{"properties":{"__proto__":{"a":1}}}'))))).toContain(
      'properties.__proto__',
    )
  })

  it.each([[null], ['text'], [[]], [7], [undefined]])('is not %j', (body) => {
    expect(Object.keys(problemsOf(() => parsePut(body)))).toEqual(['body'])
  })
})

describe('the body of a PATCH', () => {
  it('may be written as the az command line of 2022 writes it', () => {
    const body = {
      properties: {
        triggerCutover: 'true',
        DBsToTriggerCutoverMigrationOn: ['a'],
        setupLogicalReplicationOnSourceDBIfNeeded: true,
      },
    }
    expect(parsePatch(body)).toEqual({
      properties: {
        triggerCutover: 'True',
        dbsToTriggerCutoverOn: ['a'],
        setupLogicalReplicationOnSourceDbIfNeeded: 'True',
      },
    })
    expect(parsePatch({ properties: { Cancel: 'true', DBsToCancelMigrationOn: ['a'] } })).toEqual({
      properties: { cancel: 'True', dbsToCancelMigrationOn: ['a'] },
    })
  })

  it('says of a field that only PUT has that it cannot be changed', () => {
    const problems = problemsOf(() =>
      parsePatch({ properties: { sslmode: 'Require', pgflex: { fallback: 'None' } }, location: 'x' }),
    )
    expect(problems).toEqual({
      location: 'location cannot be changed after the migration is created.',
      'properties.sslMode': 'properties.sslMode cannot be changed after the migration is created.',
      'properties.pgflex.fallback': 'properties.pgflex.fallback cannot be changed after the migration is created.',
    })
  })
})
