import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatLsn, parseLsn } from '../../../migration/lsn.ts'
import { startServerPair, type ServerPair } from '../../support/servers.ts'
import { startTcpRelay, type TcpRelay } from '../../support/tcp-relay.ts'
import { startFollowerProcess, type FollowerProcess } from './follower-process.ts'
import { startFollowing } from './following.ts'
import { openAccounts, readTransfers, startTransfers, TRANSFERS_DDL, type TransferState } from './transfers.ts'
import { random } from './workload.ts'

const SEED = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)
/** Each kind of crash once; PGFLEX_CRASH_ROUNDS=100 is the long form, of some minutes. */
const ROUNDS = Number(process.env['PGFLEX_CRASH_ROUNDS'] ?? 10)
const CLIENTS = 3
const DATABASE = 'crash'
/** ms for the follower to have come further after a crash: servers recover, leases and slots are taken anew. */
const RECOVERY_MS = 45_000

let pair: ServerPair
let toSource: TcpRelay
let toTarget: TcpRelay

beforeAll(async () => {
  pair = await startServerPair(13, 17)
  toSource = await startTcpRelay(pair.source)
  toTarget = await startTcpRelay(pair.target)
})

afterAll(async () => {
  await toSource?.[Symbol.asyncDispose]()
  await toTarget?.[Symbol.asyncDispose]()
  await pair?.[Symbol.asyncDispose]()
})

test(
  `${ROUNDS} crashes of the host, its connections and both servers lose nothing, double nothing and show nothing half done (seed ${SEED})`,
  async () => {
    process.stderr.write(`crash seed ${SEED} (PGFLEX_TEST_SEED)\n`)
    await using following = await startFollowing(
      // The engine goes through the relays; the test itself does not.
      { ...pair, source: { ...pair.source, port: toSource.port }, target: { ...pair.target, port: toTarget.port } },
      DATABASE,
      { ddl: TRANSFERS_DDL },
    )
    await openAccounts(following.app, CLIENTS)
    await following.catchUp()
    const clients = Array.from({ length: CLIENTS }, (_, i) => startTransfers(pair, DATABASE, i + 1, SEED * 10 + i))
    const observer = startObserver()
    const next = random(SEED)
    await using followers = new AsyncDisposableStack()
    const failures: FollowerProcess['failures'][] = []
    const start = (): FollowerProcess => {
      const follower = followers.use(startFollowerProcess(following.migration))
      failures.push(follower.failures)
      return follower
    }
    let follower = start()
    let frozen: FollowerProcess | undefined
    let woken: FollowerProcess | undefined

    const crashes: Record<string, () => Promise<unknown>> = {
      host: async () => {
        // Sometimes another one is there already.
        const successor = next(2) === 0 ? start() : undefined
        await pause(next(300))
        await follower[Symbol.asyncDispose]()
        follower = successor ?? start()
      },
      'frozen host': async () => {
        follower.child.kill('SIGSTOP')
        frozen = follower
        follower = start()
        // As if the time of its lease had passed.
        await ask('target', `update pgflex.lease set expires_at = now() - interval '1 s' where name = 'replicate'`)
      },
      'apply session': () => endSessions('target', 'pgflex apply'),
      'apply backend': async () => {
        // Its server takes it for a crash, and starts anew.
        for (const { pid } of await ask(
          'target',
          `select pid from pg_stat_activity where application_name = 'pgflex apply'`,
        )) {
          signal(pid as number)
        }
      },
      'replication session': () => endSessions('source', 'pgflex follow'),
      'connections of the target': () => Promise.resolve(toTarget.breakConnections()),
      'all connections': () => Promise.resolve(toTarget.breakConnections() + toSource.breakConnections()),
      source: () => crash(pair.source, next(500)),
      target: () => crash(pair.target, next(500)),
      'both servers': () => Promise.all([crash(pair.source, next(500)), crash(pair.target, next(500))]),
    }
    let kinds: string[] = []
    const done: Record<string, number> = {}
    const log: string[] = []
    for (let round = 0; round < ROUNDS; round++) {
      // Now and then before it has recovered from the last one.
      if (round === 0 || next(4) > 0) await observer.furtherBy(1 + next(40), () => [...failures.flat(), log.slice(-4)])
      // Of the frozen one, with whatever it was in the middle of: the other has gone on since.
      await woken?.[Symbol.asyncDispose]()
      frozen?.child.kill('SIGCONT')
      woken = frozen
      frozen = undefined
      await pause(next(400))
      if (kinds.length === 0) kinds = shuffle(Object.keys(crashes), next)
      const kind = kinds.pop()!
      log.push(`${new Date().toISOString()} ${kind}`)
      await crashes[kind]!()
      done[kind] = (done[kind] ?? 0) + 1
      if (round % 10 === 9) process.stderr.write(`crash round ${round + 1}: ${observer.looks} looks\n`)
      expect(observer.faults).toEqual([])
      expect(failures.flat().filter(({ transient }) => !transient)).toEqual([])
    }
    await observer.furtherBy(1, () => [...failures.flat(), log.slice(-4)])
    for (const client of clients) client.stop()
    await Promise.all(clients.map((client) => client.done))
    await observer.stop()
    await followers.disposeAsync()
    // There may be more to catch up with than one slice can: the crashes have held it up.
    while ((await following.catchUp()).reason === 'time') expect(observer.faults).toEqual([])
    await following.expectEqual()

    await using target = await pair.target.connect(DATABASE)
    const { counters, transfers, faults } = await readTransfers(target)
    expect([...observer.faults, ...faults]).toEqual([])
    for (const { client, acknowledged } of clients) {
      expect(counters[client], `client ${client} got its commit`).toBeGreaterThanOrEqual(acknowledged)
    }
    // The one that opened the accounts, and each transfer once.
    expect(await following.onTarget(`select concat_ws(' ', transactions, missed) from pgflex.progress`)).toBe(
      `${transfers + 1} 0`,
    )
    process.stderr.write(
      `crash seed ${SEED}: ${transfers} transfers, ${observer.looks} looks, ${JSON.stringify(done)}, ${failures.flat().length} slices failed\n`,
    )
    expect(observer.looks).toBeGreaterThan(ROUNDS)
  },
  60_000 + ROUNDS * 20_000,
)

interface Observer {
  looks: number
  faults: string[]
  /** Waits until the target shows more transfers than now. */
  furtherBy(transfers: number, failures: () => unknown[]): Promise<void>
  stop(): Promise<void>
}

/** Looks at the target all the time, as a reader there would. */
function startObserver(): Observer {
  let stopped = false
  let last: TransferState | undefined
  let lastLsn = 0n
  const look = async (): Promise<void> => {
    await using target = await pair.target.connect(DATABASE)
    while (!stopped) {
      const state = await readTransfers(target)
      const { rows } = await target.query<{ lsn: string }>('select applied_lsn as lsn from pgflex.progress')
      const lsn = parseLsn(rows[0]!.lsn)
      observer.faults.push(...state.faults)
      // What was once seen is durable, whatever has crashed since.
      if (lsn < lastLsn) observer.faults.push(`the progress went back from ${formatLsn(lastLsn)} to ${rows[0]!.lsn}`)
      for (const [client, n] of Object.entries(last?.counters ?? {})) {
        if (n > (state.counters[client] ?? 0)) observer.faults.push(`client ${client} went back from ${n}`)
      }
      observer.looks++
      last = state
      lastLsn = lsn
      await pause(50)
    }
  }
  const looking = (async () => {
    while (!stopped) {
      // The target is down, or has just been killed.
      await look().catch(() => pause(50))
    }
  })()
  const observer: Observer = {
    looks: 0,
    faults: [],
    async furtherBy(transfers, failures) {
      const before = last?.transfers ?? 0
      await expect
        .poll(() => (last?.transfers ?? 0) - before, {
          timeout: RECOVERY_MS,
          message: `The target does not come further.`,
        })
        .toBeGreaterThanOrEqual(transfers)
        .catch(async (error: unknown) => {
          const scene = {
            failures: failures().slice(-5),
            source: await sessions('source'),
            target: await sessions('target'),
          }
          throw new Error(`${String(error)}\n${JSON.stringify(scene, null, 1)}`, { cause: error })
        })
    },
    async stop() {
      stopped = true
      await looking
    },
  }
  return observer
}

async function crash(server: ServerPair['source'], downMs: number): Promise<void> {
  await server.kill()
  await pause(downMs)
  await server.start()
}

/** Asks a server that may be on its way up after the crash before. */
async function ask(side: 'source' | 'target', sql: string): Promise<Record<string, unknown>[]> {
  const deadline = Date.now() + RECOVERY_MS
  for (;;) {
    try {
      await using admin = await pair[side].connect(DATABASE)
      return (await admin.query<Record<string, unknown>>(sql)).rows
    } catch (error) {
      if (Date.now() > deadline) throw error
      await pause(50)
    }
  }
}

function endSessions(side: 'source' | 'target', name: string): Promise<unknown> {
  return ask(side, `select pg_terminate_backend(pid) from pg_stat_activity where application_name = '${name}'`)
}

/** Who does what at the moment, for the one who has to find out why nothing moves. */
async function sessions(side: 'source' | 'target'): Promise<unknown[]> {
  const rows = await ask(
    side,
    `select concat_ws(' | ', pid, application_name, state, wait_event_type, wait_event, now() - state_change, pg_blocking_pids(pid), left(query, 80)) as session
       from pg_stat_activity where datname is not null`,
  )
  return rows.map(({ session }) => session)
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

function shuffle(items: string[], next: (below: number) => number): string[] {
  return items
    .map((item) => ({ item, order: next(1_000_000) }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ item }) => item)
}

/** A random moment is one that nothing announces. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
