import { APP_USER } from '../../demo/roles.ts'
import type { ServerPair } from '../../test/support/servers.ts'
import { percentile } from '../median.ts'
import type { Applier, ApplierName } from './applier.ts'
import { callAll } from './backlog.ts'
import { createDatabases, createTemplates, DATABASE, dropDatabases } from './databases.ts'
import { expectSameContents } from './drain.ts'
import { createNativeApplier, type NativeCommit } from './native-applier.ts'
import { createPgflexApplier } from './pgflex-applier.ts'
import { pgbenchShape, tpcbCalls } from './pgbench-shape.ts'

export interface Latency {
  applier: ApplierName
  /** What the source did while it was followed. */
  transactionsPerSecond: number
  probes: number
  /** ms from just before the commit of a row on the source until it was seen on the target. */
  median: number
  percentile99: number
  greatest: number
}

export interface Latencies {
  /** Transactions in a second of the source with nobody following. */
  most: number
  /** What it was asked for while it was followed. */
  rate: number
  appliers: Latency[]
}

/** s; short, but longer than the steps of a WAL segment. */
const MOST_SECONDS = 10
const SHARE_OF_MOST = 0.8
/** ms between two rows. */
const PROBE_MS = 100
/** ms between two looks. */
const LOOK_MS = 5
/** ms that the target may be behind at the end. */
const CATCH_UP_MS = 120_000

export interface LatencyOptions {
  seconds: number
  execArgv: string[]
  nativeCommit: NativeCommit
  signal: AbortSignal
  say: (text: string) => void
}

/** Measures how old changes are when they arrive, under steady TPC-B transactions. */
export async function measureLatencies(pair: ServerPair, options: LatencyOptions): Promise<Latencies> {
  const { seconds, execArgv, nativeCommit, signal, say } = options
  await createTemplates(pair, pgbenchShape({ transactions: 1, sessions: 1 }))
  await createDatabases(pair)
  const took = await callAll(pair, tpcbCalls(MOST_SECONDS), { synchronousCommit: 'on' })
  const most = (await countTransactions(pair)) / took
  const rate = Math.floor(most * SHARE_OF_MOST)
  say(`latency: the source does ${Math.round(most)} transactions/s, it is followed at ${rate}/s`)
  await dropDatabases(pair)
  const appliers: Latency[] = []
  for (const name of ['pgflex', 'native'] as const) {
    await createDatabases(pair)
    {
      await using pgflex = await createPgflexApplier(pair, execArgv)
      await using native = await createNativeApplier(pair, pgflex.publications, nativeCommit)
      const applier = name === 'pgflex' ? pgflex : native
      const latency = await followed(pair, applier, seconds, rate, signal)
      appliers.push(latency)
      say(
        `latency: ${name} 99 % within ${latency.percentile99.toFixed(0)} ms, greatest ${latency.greatest.toFixed(0)} ms`,
      )
      await applier.end()
      await expectSameContents(pair, [applier])
      await native.remove()
      await pgflex.remove()
    }
    await dropDatabases(pair)
  }
  return { most, rate, appliers }
}

async function followed(
  pair: ServerPair,
  applier: Applier,
  seconds: number,
  rate: number,
  signal: AbortSignal,
): Promise<Latency> {
  await using writer = await pair.source.connect(DATABASE)
  await using reader = await pair.target.connect(applier.database)
  await writer.query(`set role ${APP_USER}`)
  let written = 0
  const write = (): Promise<unknown> =>
    writer.query('insert into bench_marker values ($1, clock_timestamp())', [++written])
  let seen = 0
  const look = async (): Promise<number[]> => {
    const { rows } = await reader.query<{ id: number; ms: string }>(
      `select id, extract(epoch from clock_timestamp() - at) * 1000 as ms from public.bench_marker where id > $1 order by id`,
      [seen],
    )
    seen = rows.at(-1)?.id ?? seen
    return rows.map(({ ms }) => Number(ms))
  }
  const lookUntilAllSeen = async (): Promise<number[]> => {
    const ages: number[] = []
    const deadline = performance.now() + CATCH_UP_MS
    while (seen < written) {
      ages.push(...(await look()))
      await applier.check()
      signal.throwIfAborted()
      if (performance.now() > deadline) throw new Error(`${applier.name} has not caught up after ${CATCH_UP_MS} ms.`)
      await pause(LOOK_MS)
    }
    return ages
  }

  await applier.begin()
  // The first row shows that it follows, and says nothing about the latency.
  await write()
  await lookUntilAllSeen()

  let running = true
  const workload = callAll(pair, tpcbCalls(seconds, rate), { synchronousCommit: 'on' }).finally(() => (running = false))
  const probing = (async () => {
    for (let next = performance.now(); running; next += PROBE_MS) {
      await pause(Math.max(0, next - performance.now()))
      await write()
    }
  })()
  const ages: number[] = []
  const looking = (async () => {
    while (running) {
      ages.push(...(await look()))
      await pause(LOOK_MS)
    }
  })()
  const [took] = await Promise.all([workload, probing, looking])
  ages.push(...(await lookUntilAllSeen()))
  return {
    applier: applier.name,
    transactionsPerSecond: (await countTransactions(pair)) / took,
    probes: ages.length,
    median: percentile(ages, 0.5),
    percentile99: percentile(ages, 0.99),
    greatest: Math.max(...ages),
  }
}

async function countTransactions({ source }: ServerPair): Promise<number> {
  await using client = await source.connect(DATABASE)
  const { rows } = await client.query<{ count: string }>('select count(*) from public.pgbench_history')
  return Number(rows[0]!.count)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
