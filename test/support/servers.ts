import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedServer, type EmbeddedServer, type EmbeddedServerOptions } from '../../demo/embedded-postgres.ts'
import { APP_USER, createRoles, SOURCE_USER, TARGET_USER, type RolePasswords } from '../../demo/roles.ts'
import { databaseContext, serverContext, type DatabaseContext, type Surroundings } from '../../migration/context.ts'
import { silentLogger } from '../../migration/log.ts'
import type { MigrationProperties, MigrationRecord, PgflexOptions } from '../../migration/model/record.ts'
import { id } from '../../migration/sql.ts'
import { fileDocuments } from '../../migration/store/file-documents.ts'
import { fileSecrets } from '../../migration/store/file-secrets.ts'
import { createRecord } from '../../migration/store/migrations.ts'
import { passwordName } from '../../migration/store/secrets.ts'

export { APP_USER, SOURCE_USER, TARGET_USER } from '../../demo/roles.ts'

/** A source and a target with the roles that migrate in real life: ordinary ones. */
export interface ServerPair extends RolePasswords, AsyncDisposable {
  source: EmbeddedServer
  target: EmbeddedServer
}

export interface ServerPairOptions {
  sourceSettings?: EmbeddedServerOptions['settings']
  targetSettings?: EmbeddedServerOptions['settings']
}

export async function startServerPair(
  sourceMajor: number,
  targetMajor: number,
  options: ServerPairOptions = {},
): Promise<ServerPair> {
  const [source, target] = await Promise.all([
    startEmbeddedServer(sourceMajor, { settings: options.sourceSettings }),
    startEmbeddedServer(targetMajor, { settings: options.targetSettings }),
  ])
  const passwords = await createRoles(source, target, secret)
  return {
    source,
    target,
    ...passwords,
    async [Symbol.asyncDispose]() {
      await Promise.all([source.stop(), target.stop()])
    },
  }
}

/** Easy to find in any file or log: the tests that look for leaks search for this prefix. */
function secret(): string {
  return `s3cr3t-${randomBytes(9).toString('hex')}`
}

/** Creates a database of the application on the source and runs SQL in it as its owner. */
export async function createSourceDatabase(pair: ServerPair, name: string, sql: string, clauses = ''): Promise<void> {
  {
    await using admin = await pair.source.connect()
    await admin.query(`create database ${id(name)} owner ${APP_USER} ${clauses}`)
  }
  await using database = await pair.source.connect(name)
  await database.query(`set role ${APP_USER}`)
  if (sql !== '') await database.query(sql)
}

/** Creates an empty database on the target, owned by the migrating role. */
export async function createTargetDatabase(pair: ServerPair, name: string, clauses = ''): Promise<void> {
  await using admin = await pair.target.connect()
  await admin.query(`create database ${id(name)} owner ${TARGET_USER} ${clauses}`)
}

export interface TestMigration extends AsyncDisposable {
  context: DatabaseContext
  surroundings: Surroundings
  folder: string
  /** Stops long work at its next safe point, as a host that shuts down does. */
  drain(): void
}

export interface TestMigrationOptions {
  properties?: Partial<Omit<MigrationProperties, 'pgflex'>>
  pgflex?: Partial<PgflexOptions>
  /** The key of the migration; two databases of one migration share it. */
  key?: string
}

/** A stored migration of one database between the pair, with its context: what an activity gets. */
export async function createTestMigration(
  pair: ServerPair,
  database: string,
  options: TestMigrationOptions = {},
): Promise<TestMigration> {
  const folder = mkdtempSync(join(tmpdir(), 'pgflex-test-'))
  const drain = new AbortController()
  const surroundings: Surroundings = {
    documents: fileDocuments(join(folder, 'documents')),
    secrets: fileSecrets(join(folder, 'secrets')),
    log: silentLogger,
    draining: drain.signal,
  }
  const key = options.key ?? 'test-migration'
  const record: MigrationRecord = {
    key,
    id: `/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.DBforPostgreSQL/flexibleServers/local/migrations/${key}`,
    name: key,
    location: 'local',
    migrationId: '00000000-0000-4000-8000-000000000000',
    createdAt: new Date().toISOString(),
    properties: {
      migrationMode: 'Online',
      migrationOption: 'ValidateAndMigrate',
      sourceType: 'OnPremises',
      sslMode: 'Prefer',
      dbsToMigrate: [database],
      setupLogicalReplicationOnSourceDbIfNeeded: false,
      overwriteDbsInTarget: false,
      migrateRoles: false,
      migrationWindowStartTimeInUtc: new Date().toISOString(),
      ...options.properties,
      pgflex: {
        writeFreeze: 'Automatic',
        verify: 'Counts',
        fallback: 'None',
        serverParameters: 'Copy',
        maxLatencySecondsForCutover: 30,
        replicaIdentity: 'Report',
        ...options.pgflex,
      },
    },
    source: { host: pair.source.host, port: pair.source.port, user: SOURCE_USER },
    target: { host: pair.target.host, port: pair.target.port, user: TARGET_USER },
    requests: { cutover: {}, cancel: {} },
  }
  await surroundings.secrets.set(passwordName(key, 'source'), pair.sourcePassword)
  await surroundings.secrets.set(passwordName(key, 'target'), pair.targetPassword)
  await createRecord(surroundings.documents, record)
  return {
    context: databaseContext(await serverContext(surroundings, key), database),
    surroundings,
    folder,
    drain: () => drain.abort(),
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
