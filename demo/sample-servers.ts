import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { id } from '../migration/sql.ts'
import { startEmbeddedServer, type EmbeddedServer } from './embedded-postgres.ts'
import { APP_USER, SOURCE_USER, TARGET_USER, type RolePasswords } from './roles.ts'
import { createSampleDatabase, SAMPLE_DATABASES, type SampleDatabase } from './sample-database.ts'
import { startWorkload, type Workload } from './workload.ts'

/** Sessions that write into each database; with the pause of the workload some hundred transactions a second. */
const CLIENTS = 3
/** Reproducible: the same transactions in every run, though not in the same order. */
const SEED = 2024

/** Starts source and target side by side. */
export async function startServers(options: {
  sourceMajor: number
  targetMajor: number
}): Promise<AsyncDisposable & { source: EmbeddedServer; target: EmbeddedServer }> {
  const started = await Promise.allSettled([
    startEmbeddedServer(options.sourceMajor),
    startEmbeddedServer(options.targetMajor),
  ])
  const [source, target] = started.map((one) => (one.status === 'fulfilled' ? one.value : undefined))
  const stop = async (): Promise<void> => void (await Promise.all([source?.stop(), target?.stop()]))
  if (source && target) return { source, target, [Symbol.asyncDispose]: stop }
  await stop()
  throw started.find((one) => one.status === 'rejected')!.reason
}

/** Makes and fills the sample databases, as the application's role. */
export async function createSource(source: EmbeddedServer, passwords: RolePasswords): Promise<void> {
  await Promise.all(SAMPLE_DATABASES.map((database) => createDatabase(source, database, passwords)))
}

async function createDatabase(
  source: EmbeddedServer,
  database: SampleDatabase,
  passwords: RolePasswords,
): Promise<void> {
  {
    await using admin = await source.connect()
    await admin.query(`create database ${id(database)} owner ${APP_USER}`)
  }
  const app = await connectApp(source, database, passwords)
  try {
    await createSampleDatabase(app, database)
  } finally {
    await app.end()
  }
}

async function connectApp(
  { host, port }: EmbeddedServer,
  database: string,
  passwords: RolePasswords,
): Promise<pg.Client> {
  const client = new pg.Client({
    host,
    port,
    database,
    user: APP_USER,
    password: passwords.appPassword,
    application_name: 'sample application',
    connectionTimeoutMillis: 10_000,
  })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Starts writing into every sample database. */
export function startWorkloads(
  source: EmbeddedServer,
  passwords: RolePasswords,
): AsyncDisposable & { of(database: SampleDatabase): Workload; stop(): Promise<void> } {
  const workloads = new Map(
    SAMPLE_DATABASES.map((database) => [
      database,
      startWorkload({ connect: () => connectApp(source, database, passwords), database, clients: CLIENTS, seed: SEED }),
    ]),
  )
  const stop = async (): Promise<void> => void (await Promise.all([...workloads.values()].map((one) => one.stop())))
  return { of: (database) => workloads.get(database)!, stop, [Symbol.asyncDispose]: stop }
}

/** Such as `17.10`. */
export async function serverVersion(server: EmbeddedServer): Promise<string> {
  await using admin = await server.connect()
  const { rows } = await admin.query<{ server_version: string }>('show server_version')
  return rows[0]!.server_version
}

/** How to look at the servers; passwords stay in a file: https://www.postgresql.org/docs/current/libpq-pgpass.html */
export function howToConnect(
  folder: string,
  source: EmbeddedServer,
  target: EmbeddedServer,
  passwords: RolePasswords,
): string {
  const file = join(folder, 'pgpass')
  writeFileSync(
    file,
    `${source.host}:${source.port}:*:${APP_USER}:${passwords.appPassword}\n` +
      `${source.host}:${source.port}:*:${SOURCE_USER}:${passwords.sourcePassword}\n` +
      `${target.host}:${target.port}:*:${TARGET_USER}:${passwords.targetPassword}\n`,
    { mode: 0o600 },
  )
  const command = ({ host, port }: EmbeddedServer, user: string): string =>
    `psql "host=${host} port=${port} user=${user} dbname=${SAMPLE_DATABASES[0]} passfile=${file}"`
  return [
    '',
    `Source:  ${command(source, APP_USER)}`,
    `Target:  ${command(target, TARGET_USER)}`,
    'Servers and page stay up until Ctrl-C.',
  ].join('\n')
}
