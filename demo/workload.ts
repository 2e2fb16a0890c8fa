import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { errorText, isTransient, sqlState } from '../migration/errors.ts'
import { seededRandom } from './random.ts'
import type { SampleDatabase } from './sample-database.ts'
import { LEDGER_TRANSACTIONS } from './workload-ledger.ts'
import { SHOP_TRANSACTIONS } from './workload-shop.ts'
import type { Sql } from './workload-transaction.ts'

export interface WorkloadOptions {
  /** Opens a session of the application. */
  connect: () => Promise<pg.Client>
  database: SampleDatabase
  /** Sessions that write at a time. */
  clients: number
  seed: number
  /** Pause of a client between two transactions, ms on average; 0 writes as fast as the server does. */
  pauseMs?: number
}

export interface WorkloadStats {
  /** Transactions whose commit the server has acknowledged. */
  committed: number
  rolledBack: number
  /** Row changes of the committed transactions, without those of triggers and cascades. */
  rows: number
  /** Transactions given up by the server and tried again: deadlocks. */
  retried: number
  /** Attempts to connect or to write that the server did not accept: read-only, shut down, session ended. */
  refused: number
  /** Anything else: a mistake, in the workload or of the migration. */
  failed: number
  /** The first few of the errors behind `failed`. */
  errors: string[]
  /** The longest time that a transaction took to be acknowledged, ms. */
  longestMs: number
  /** ISO 8601 */
  lastCommitAt?: string
  firstRefusedAt?: string
}

/** Whether a database holds exactly the transactions that were acknowledged. */
export interface AcknowledgedCheck {
  acknowledged: number
  /** Acknowledged, and not there: lost. */
  missing: number
  /** There, and rolled back or refused. */
  unexpected: number
}

/** Clients that write until they are stopped. */
export interface Workload extends AsyncDisposable {
  stats(): WorkloadStats
  /** Ends the clients after the transaction that they have in hand. */
  stop(): Promise<WorkloadStats>
  /** Looks into a copy of the database, after {@link stop}. */
  checkAcknowledged(copy: pg.Client): Promise<AcknowledgedCheck>
}

/** An application tries again soon; that keeps the number of refused writes telling. */
const RETRY_MS = 50

/** Longer than any wait that a migration may impose on the application: such a wait is a failure, not a pause. */
const STATEMENT_TIMEOUT = '30s'

/**
 * Starts clients that insert, update, delete and truncate, the same for the same seed. Each transaction writes
 * its number into `workload_commit`, so that afterwards it can be told whether one is lost. Clients survive
 * being cut off: they count what was refused and go on trying.
 */
export function startWorkload(options: WorkloadOptions): Workload {
  const stopping = new AbortController()
  const stats: WorkloadStats = {
    committed: 0,
    rolledBack: 0,
    rows: 0,
    retried: 0,
    refused: 0,
    failed: 0,
    errors: [],
    longestMs: 0,
  }
  const clients = Array.from({ length: options.clients }, (_, client) => ({
    client,
    acknowledged: new Set<number>(),
    /** The answer to their commit got lost. */
    uncertain: new Set<number>(),
  }))
  const running = Promise.all(clients.map((client) => runClient(client, options, stats, stopping.signal)))

  async function stop(): Promise<WorkloadStats> {
    stopping.abort()
    await running
    return stats
  }
  return {
    stats: () => ({ ...stats }),
    stop,
    async checkAcknowledged(copy) {
      const { rows } = await copy.query<{ client: number | string; n: number | string }>(
        'select client, n from public.workload_commit',
      )
      const found = clients.map(() => new Set<number>())
      for (const { client, n } of rows) found[Number(client)]?.add(Number(n))
      const check: AcknowledgedCheck = { acknowledged: 0, missing: 0, unexpected: 0 }
      for (const { client, acknowledged, uncertain } of clients) {
        check.acknowledged += acknowledged.size
        const there = found[client]!
        check.missing += [...acknowledged].filter((number) => !there.has(number)).length
        check.unexpected += [...there].filter((number) => !acknowledged.has(number) && !uncertain.has(number)).length
      }
      return check
    },
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}

interface WorkloadClient {
  client: number
  acknowledged: Set<number>
  uncertain: Set<number>
}

async function runClient(
  { client, acknowledged, uncertain }: WorkloadClient,
  { connect, database, seed, pauseMs = 10 }: WorkloadOptions,
  stats: WorkloadStats,
  stopping: AbortSignal,
): Promise<void> {
  const random = seededRandom(seed * 1000 + client)
  const transactions = database === 'shop' ? SHOP_TRANSACTIONS : LEDGER_TRANSACTIONS
  const wait = (ms: number): Promise<void> => sleep(ms, undefined, { signal: stopping }).catch(() => {})
  let session: pg.Client | undefined
  let n = 0
  while (!stopping.aborted) {
    let committing = false
    let name = 'connect'
    n++
    try {
      session ??= await openSession(connect)
      const began = performance.now()
      let rows = 0
      const open = session
      const sql: Sql = async (text, values) => {
        const result = await open.query<Record<string, unknown>>(text, values)
        if (/^(INSERT|UPDATE|DELETE)$/.test(result.command)) rows += result.rowCount ?? 0
        return result
      }
      await open.query('begin')
      const transaction = random.weighted(transactions)
      name = transaction.name
      await transaction.run(sql, random)
      await sql('insert into public.workload_commit (client, n) values ($1, $2)', [client, n])
      if (random.oneIn(15)) {
        await open.query('rollback')
        stats.rolledBack++
      } else {
        committing = true
        await open.query('commit')
        acknowledged.add(n)
        stats.committed++
        stats.rows += rows
        stats.longestMs = Math.max(stats.longestMs, Math.round(performance.now() - began))
        stats.lastCommitAt = new Date().toISOString()
      }
      if (pauseMs > 0) await wait(random.next() * 2 * pauseMs)
    } catch (error) {
      const outcome = classify(error)
      // A session that is ended during its commit may have committed: interrupts wait until that is done.
      if (committing && outcome === 'refused') uncertain.add(n)
      if (outcome === 'failed') {
        stats.failed++
        if (stats.errors.length < 5) stats.errors.push(`${name}: ${errorText(error)}`)
      } else stats[outcome]++
      if (outcome === 'refused') stats.firstRefusedAt ??= new Date().toISOString()
      // A new session sees settings of the database that have changed since.
      await closeSession(session, outcome)
      session = undefined
      if (outcome !== 'retried') await wait(RETRY_MS)
    }
  }
  await closeSession(session, 'retried')
}

async function openSession(connect: WorkloadOptions['connect']): Promise<pg.Client> {
  const session = await connect()
  session.on('error', () => {})
  await session.query(`set statement_timeout = '${STATEMENT_TIMEOUT}'`)
  return session
}

async function closeSession(session: pg.Client | undefined, outcome: string): Promise<void> {
  // The end of a session that is broken already may never be confirmed.
  const ended = session?.end().catch(() => {})
  if (outcome !== 'refused') await ended
}

const RETRIED = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
])

const REFUSED = new Set([
  '25006', // read_only_sql_transaction
  '42501', // insufficient_privilege: CONNECT or the privileges of the tables are revoked
  '55000', // object_not_in_prerequisite_state: the database does not accept connections
])

/** How an application takes an error. */
export function classify(error: unknown): 'refused' | 'retried' | 'failed' {
  const state = sqlState(error) ?? ''
  if (RETRIED.has(state)) return 'retried'
  return REFUSED.has(state) || isTransient(error) ? 'refused' : 'failed'
}
