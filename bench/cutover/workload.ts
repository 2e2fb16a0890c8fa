import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { APP_USER } from '../../demo/roles.ts'
import { sqlState } from '../../migration/errors.ts'
import type { ServerPair } from '../../test/support/servers.ts'
import { databaseNames, rowsOfTable, SESSIONS, type Shape } from './databases.ts'

/** An application that is cut off tries again soon. */
const RETRY_MS = 50
const UNIQUE_VIOLATION = '23505'

interface Session {
  database: string
  /** Of the sessions of its database. */
  number: number
  /** Number of the last transaction that was sent, and of the last that was acknowledged; they count from 1. */
  sent: number
  acknowledged: number
}

/** Clients that write until they are stopped, and go on trying when they are cut off. */
export interface Workload extends AsyncDisposable {
  /** Transactions that the source has acknowledged so far. */
  acknowledged(): number
  /** ms since 1970: when the last acknowledgement of any session of these databases came. */
  lastAcknowledgedAt(): number
  stop(): Promise<void>
  /** Throws unless a copy of a database has every transaction that was acknowledged, and nothing that was not sent. */
  expectAcknowledged(database: string, copy: pg.Client): Promise<void>
}

/** @param rate transactions in a second of all sessions together; Infinity: as many as it can */
export function startWorkload(pair: ServerPair, shape: Shape, rate: number): Workload {
  const names = databaseNames(shape)
  const perDatabase = Math.max(1, Math.ceil(SESSIONS / names.length))
  const sessions = names.flatMap((database) =>
    Array.from({ length: perDatabase }, (_, number): Session => ({ database, number, sent: 0, acknowledged: 0 })),
  )
  const share = Math.floor((rowsOfTable(shape) - 1) / perDatabase)
  const stopping = new AbortController()
  let last = 0

  async function write(session: Session): Promise<void> {
    const client = new pg.Client({
      host: pair.source.host,
      port: pair.source.port,
      user: APP_USER,
      password: pair.appPassword,
      database: session.database,
    })
    client.on('error', () => {})
    try {
      await client.connect()
      // It keeps to its rate on the whole: after a pause it does not catch up.
      let next = performance.now()
      while (!stopping.signal.aborted) {
        session.sent = session.acknowledged + 1
        await client
          .query({
            name: 'write',
            text: 'select bench_write($1, $2, $3, $4, $5)',
            values: [session.number, session.sent, shape.tables, share, perDatabase],
          })
          .catch((error: unknown) => {
            // It was committed when the client was cut off before the answer.
            if (sqlState(error) !== UNIQUE_VIOLATION) throw error
          })
        session.acknowledged = session.sent
        last = Date.now()
        if (!Number.isFinite(rate)) continue
        next += (1000 * sessions.length) / rate
        const early = next - performance.now()
        if (early > 0) await sleep(early, undefined, { signal: stopping.signal }).catch(() => {})
        else next = performance.now()
      }
    } finally {
      await client.end().catch(() => {})
    }
  }

  const written = sessions.map(async (session) => {
    while (!stopping.signal.aborted) {
      // Ended, refused because read-only …: whatever it is, the transaction is not acknowledged.
      await write(session).catch(() => {})
      await sleep(RETRY_MS, undefined, { signal: stopping.signal }).catch(() => {})
    }
  })
  const stop = async (): Promise<void> => {
    stopping.abort()
    await Promise.all(written)
  }
  return {
    acknowledged: () => sessions.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
    lastAcknowledgedAt: () => last,
    stop,
    async expectAcknowledged(database, copy) {
      for (const session of sessions.filter((one) => one.database === database)) {
        await expectLedger(session, copy)
      }
    },
    [Symbol.asyncDispose]: stop,
  }
}

/** The last number that was sent may be there without an acknowledgement. */
async function expectLedger({ database, number, sent, acknowledged }: Session, copy: pg.Client): Promise<void> {
  const { rows } = await copy.query<{ count: string; greatest: string }>(
    `select count(*) filter (where number <= $2) as count, coalesce(max(number), 0) as greatest
       from public.bench_ledger where session = $1`,
    [number, acknowledged],
  )
  const { count, greatest } = rows[0]!
  if (Number(count) !== acknowledged || Number(greatest) > sent) {
    throw new Error(
      `Session ${number} of ${database} was told of ${acknowledged} transactions and sent ${sent}; on the target are ` +
        `${count} of them, and the last is ${greatest}.`,
    )
  }
}
