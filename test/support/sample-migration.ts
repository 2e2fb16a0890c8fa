import pg from 'pg'
import { expect } from 'vitest'
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

export interface SampleWorkload extends AsyncDisposable {
  stop(): Promise<void>
  byDatabase: Map<SampleDatabase, Workload>
}

/** The application at work on every sample database; prints its seed. */
export function startSampleWorkload(pair: ServerPair, seed: number, clients = 2, pauseMs = 10): SampleWorkload {
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

/** Fails unless both sides hold the same, and every commit that the application was told of is on the target. */
export async function expectEqualDatabases(pair: ServerPair, workload: SampleWorkload): Promise<void> {
  for (const [database, application] of workload.byDatabase) {
    await using source = await pair.source.connect(database)
    await using target = await pair.target.connect(database)
    const { differences, tables } = await compareDatabases(source, target)
    expect({ database, differences, tables: tables > 15 }).toEqual({ database, differences: [], tables: true })
    const { acknowledged, missing, unexpected } = await application.checkAcknowledged(target)
    expect({ database, missing, unexpected }).toEqual({ database, missing: 0, unexpected: 0 })
    expect(acknowledged).toBeGreaterThan(0)
    expect(application.stats()).toMatchObject({ failed: 0, errors: [] })
  }
}

/** Fails while slots, publications, control schemas or sessions of ours are left on either side. */
export async function expectNothingLeft(pair: ServerPair): Promise<void> {
  await using source = await pair.source.connect()
  await using target = await pair.target.connect()
  await expect
    .poll(
      async () => {
        const left = [
          ...(await source.query(`select 'slot ' || slot_name as left from pg_replication_slots`)).rows,
          ...(await source.query(SESSIONS)).rows,
          ...(await target.query(SESSIONS)).rows,
        ]
        for (const [server, query] of [
          [pair.source, `select 'publication ' || pubname as left from pg_publication`],
          [pair.target, `select 'schema ' || nspname as left from pg_namespace where nspname = 'pgflex'`],
        ] as const) {
          for (const database of await databaseNames(server)) {
            await using client = await server.connect(database)
            left.push(...(await client.query(query)).rows)
          }
        }
        return left
      },
      { timeout: 15_000 },
    )
    .toEqual([])
}

const SESSIONS = `select 'session ' || application_name as left from pg_stat_activity where application_name like 'pgflex %'`

async function databaseNames(server: ServerPair['source']): Promise<string[]> {
  await using client = await server.connect()
  const { rows } = await client.query<{ datname: string }>('select datname from pg_database where not datistemplate')
  return rows.map(({ datname }) => datname)
}
