import { startServerPair, type ServerPair } from '../test/support/servers.ts'

/**
 * Settings of both servers, so that a measurement meets no checkpoint and no vacuum by chance. What costs a
 * migration its time stays as it is by default: fsync, full_page_writes, synchronous_commit. shared_buffers is a
 * quarter of 4 GB, the smallest flexible server with two cores.
 */
const SETTINGS: Record<string, string> = {
  shared_buffers: '1GB',
  max_wal_size: '8GB',
  checkpoint_timeout: '1h',
  autovacuum: 'off',
}

/** What a reader has to know of the servers to believe a figure. */
const SHOWN = [
  'fsync',
  'synchronous_commit',
  'full_page_writes',
  'shared_buffers',
  'max_wal_size',
  'checkpoint_timeout',
  'autovacuum',
  'wal_level',
  'logical_decoding_work_mem',
  'max_locks_per_transaction',
]

/**
 * The two servers of a benchmark, with the roles of a migration. They are killed when the signal is aborted.
 *
 * @param sourceSettings over those of both, as targetSettings
 */
export async function startBenchServers(
  majors: { sourceMajor: number; targetMajor: number },
  signal: AbortSignal,
  sourceSettings: Record<string, string> = {},
  targetSettings: Record<string, string> = {},
): Promise<ServerPair> {
  const pair = await startServerPair(majors.sourceMajor, majors.targetMajor, {
    sourceSettings: { ...SETTINGS, ...sourceSettings },
    targetSettings: { ...SETTINGS, ...targetSettings },
  })
  const kill = (): void => {
    // Whatever waits for one of them fails, and everything is taken down.
    void Promise.all([pair.source.kill(), pair.target.kill()])
  }
  signal.addEventListener('abort', kill)
  if (signal.aborted) kill()
  return {
    ...pair,
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', kill)
      await pair[Symbol.asyncDispose]()
    },
  }
}

export interface ServerFacts {
  source: string
  target: string
  /** The same on both. */
  settings: Record<string, string>
}

export async function serverFacts({ source, target }: ServerPair): Promise<ServerFacts> {
  await using client = await source.connect()
  await using other = await target.connect()
  const version = async (one: typeof client): Promise<string> =>
    (await one.query<{ version: string }>(`select current_setting('server_version') as version`)).rows[0]!.version
  const { rows } = await client.query<{ name: string; value: string }>(
    `select name, current_setting(name) as value from unnest($1::text[]) as name`,
    [SHOWN],
  )
  return {
    source: await version(client),
    target: await version(other),
    settings: Object.fromEntries(rows.map(({ name, value }) => [name, value])),
  }
}
