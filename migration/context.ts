import { connect, clientConfig, type Connection, type Endpoint } from './connect.ts'
import { MigrationError } from './errors.ts'
import type { Logger } from './log.ts'
import type { MigrationRecord } from './model/record.ts'
import type { DatabaseStatus } from './model/status.ts'
import type { DocumentStore } from './store/documents.ts'
import { appendEvent, readRecord, updateDatabaseStatus } from './store/migrations.ts'
import { passwordName, type SecretStore, type Side } from './store/secrets.ts'

/** What the engine needs from where it runs; `functions/` builds it once. */
export interface Surroundings {
  documents: DocumentStore
  secrets: SecretStore
  log: Logger
  /** Aborted when the host is about to stop: long work ends at its next safe point. */
  draining: AbortSignal
  /** An Entra token for the target in place of a password, when there is no password. */
  targetToken?: () => Promise<string>
  /** PEM file of the certificate authorities to trust besides none: setting PGFLEX_CA_FILE. */
  caFile?: string
  /** How long a replication slice lasts, ms. */
  sliceMs?: number
}

/** One migration, with its two servers at hand. */
export interface ServerContext extends Surroundings {
  key: string
  record: MigrationRecord
  endpoint(side: Side): Endpoint
  /** Opens a connection to a database of one side. Use with `await using`. */
  connect(side: Side, database: string, purpose: string): Promise<Connection>
  event(event: {
    level: 'info' | 'warning' | 'error'
    event: string
    message: string
    database?: string
  }): Promise<void>
}

/** One database of a migration: the same name on both sides. */
export interface DatabaseContext extends ServerContext {
  database: string
  source(purpose: string): Promise<Connection>
  target(purpose: string): Promise<Connection>
  /** A walsender connection to the source: replication commands and simple queries. */
  replication(purpose: string): Promise<Connection>
  /** The configuration for a library that opens its own replication connection. */
  replicationConfig(purpose: string): ReturnType<typeof clientConfig>
  status(change: Partial<DatabaseStatus> | ((status: DatabaseStatus) => DatabaseStatus)): Promise<DatabaseStatus>
}

/** @throws {MigrationError} MigrationMissing */
export async function serverContext(surroundings: Surroundings, key: string): Promise<ServerContext> {
  const record = await readRecord(surroundings.documents, key)
  if (!record) throw new MigrationError('MigrationMissing', `There is no migration ${key}.`)
  const endpoint = (side: Side): Endpoint => ({
    side,
    ...(side === 'source' ? record.source : record.target),
    sslMode: record.properties.sslMode,
    ...(surroundings.caFile === undefined ? {} : { caFile: surroundings.caFile }),
    password: () => passwordOf(surroundings, key, side),
  })
  return {
    ...surroundings,
    key,
    record,
    endpoint,
    connect: (side, database, purpose) => connect(endpoint(side), { database, purpose }),
    event: (event) => appendEvent(surroundings.documents, key, event),
  }
}

export function databaseContext(server: ServerContext, database: string): DatabaseContext {
  const source = server.endpoint('source')
  return {
    ...server,
    database,
    source: (purpose) => server.connect('source', database, purpose),
    target: (purpose) => server.connect('target', database, purpose),
    replication: (purpose) => connect(source, { database, purpose, replication: true }),
    replicationConfig: (purpose) => clientConfig(source, { database, purpose, replication: true }),
    status: (change) => updateDatabaseStatus(server.documents, server.key, database, change),
    event: (event) => server.event({ database, ...event }),
  }
}

async function passwordOf({ secrets, targetToken }: Surroundings, key: string, side: Side): Promise<string> {
  const password = await secrets.get(passwordName(key, side))
  if (password !== undefined) return password
  if (side === 'target' && targetToken) return targetToken()
  throw new MigrationError('PasswordMissing', `The password of the ${side} server is no longer in the secret store.`, {
    hint: `Send it again: PATCH the migration with secretParameters.adminCredentials.${side}ServerPassword.`,
    target: side,
  })
}
