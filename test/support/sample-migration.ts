import pg from 'pg'
import { createSampleDatabase, SAMPLE_DATABASES, type SampleDatabase } from '../../demo/sample-database.ts'
import { startWorkload, type Workload } from '../../demo/workload.ts'
import { compareDatabases } from '../../demo/compare.ts'
import { APP_USER, createSourceDatabase, startServerPair, type ServerPair, type ServerPairOptions } from './servers.ts'

/** A pair of servers with the demo's databases on the source. */
export async function startSamplePair(
  sourceMajor: number,
  targetMajor: number,
  options?: ServerPairOptions,
): Promise<ServerPair> {
  const pair = await startServerPair(sourceMajor, targetMajor, options)
  try {
    for (const database of SAMPLE_DATABASES) {
      await createSourceDatabase(pair, database, '')
      const app = await connectAsApp(pair, database)
      try {
        await createSampleDatabase(app, database)
      } finally {
        await app.end()
      }
    }
    return pair
  } catch (error) {
    await pair[Symbol.asyncDispose]()
    throw error
  }
}

export async function connectAsApp(pair: ServerPair, database: string): Promise<pg.Client> {
  const client = new pg.Client({
    host: pair.source.host,
    port: pair.source.port,
    user: APP_USER,
    password: pair.appPassword,
    database,
  })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** The application at work on every sample database; prints its seed. */
export function startSampleWorkload(
  pair: ServerPair,
  seed: number,
  clients = 2,
  pauseMs = 10,
): AsyncDisposable & { stop(): Promise<void>; byDatabase: Map<SampleDatabase, Workload> } {
  process.stderr.write(`workload seed ${seed}\n`)
  const byDatabase = new Map(
    SAMPLE_DATABASES.map((database) => [
      database,
      startWorkload({ connect: () => connectAsApp(pair, database), database, clients, seed, pauseMs }),
    ]),
  )
  const stop = async (): Promise<void> => {
    await Promise.all([...byDatabase.values()].map((workload) => workload.stop()))
  }
  return { byDatabase, stop, [Symbol.asyncDispose]: stop }
}

export { compareDatabases }
