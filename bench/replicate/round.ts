import { errorText } from '../../migration/errors.ts'
import type { Lsn } from '../../migration/lsn.ts'
import type { ServerPair } from '../../test/support/servers.ts'
import type { Applier } from './applier.ts'
import { TimeIsUp } from '../time-is-up.ts'
import { callAll, markEnd } from './backlog.ts'
import { differencesOf, drain, expectSameContents, type Drain } from './drain.ts'
import { createNativeApplier, type NativeCommit } from './native-applier.ts'
import { createPgcopydbApplier } from './pgcopydb-applier.ts'
import type { Pgcopydb } from './pgcopydb.ts'
import { createPgflexApplier, type PgflexApplier } from './pgflex-applier.ts'
import type { Shape } from './shape.ts'

export interface RoundOptions {
  /** From 0: who begins goes round. */
  round: number
  /** Options of Node for the process of pgflex. */
  execArgv: string[]
  marked: boolean
  nativeCommit: NativeCommit
  /** Undefined when it takes no part. */
  pgcopydb: Pgcopydb | undefined
  /** How many times as long as native it may take. */
  pgcopydbLimit: number
  signal: AbortSignal
}

/** What came of pgcopydb: it may do whatever it does, the others are measured. */
export interface PgcopydbOutcome {
  /** Why there is no figure of it. */
  reason?: string
  /** What its target has otherwise than the source. */
  differences: string[]
}

export interface Round {
  drains: Drain[]
  pgcopydb?: PgcopydbOutcome
}

/** s; pgcopydb looks every 10 s whether it has something to apply. */
const PGCOPYDB_START_SECONDS = 20

/**
 * Makes one backlog in fresh databases and lets each applier drain it, one after the other, each from its own slot into its own
 * copy of the tables.
 *
 * @throws {Error} when pgflex or native has failed, or brought about anything else than the source has
 */
export async function runRound(pair: ServerPair, shape: Shape, options: RoundOptions): Promise<Round> {
  const { round, execArgv, marked, nativeCommit, signal } = options
  await using pgflex = await createPgflexApplier(pair, execArgv, marked)
  await using native = await createNativeApplier(pair, pgflex.publications, nativeCommit)
  let outcome: PgcopydbOutcome | undefined
  await using pgcopydb =
    options.pgcopydb &&
    (await createPgcopydbApplier(pair, options.pgcopydb).catch((error: unknown) => {
      outcome = { reason: errorText(error), differences: [] }
      return undefined
    }))
  await callAll(pair, shape.calls, { synchronousCommit: 'off' })
  const until = await markEnd(pair)
  const drains: Drain[] = []
  const both = round % 2 === 0 ? [pgflex, native] : [native, pgflex]
  for (const applier of both) {
    signal.throwIfAborted()
    drains.push(await drain(pair, applier, until, { signal }))
  }
  await expectSameContents(pair, [pgflex, native])
  await expectCounts(pgflex, shape)
  if (pgcopydb) {
    signal.throwIfAborted()
    const { seconds } = drains.find(({ applier }) => applier === 'native')!
    const limitSeconds = PGCOPYDB_START_SECONDS + options.pgcopydbLimit * seconds
    outcome = await drainByPgcopydb(pair, pgcopydb, until, { signal, limitSeconds, drains })
    await pgcopydb.remove()
  }
  await native.remove()
  await pgflex.remove()
  return { drains, ...(outcome ? { pgcopydb: outcome } : {}) }
}

/** It comes last each time: its limit is made of what native has taken. */
async function drainByPgcopydb(
  pair: ServerPair,
  pgcopydb: Applier,
  until: Lsn,
  { signal, limitSeconds, drains }: { signal: AbortSignal; limitSeconds: number; drains: Drain[] },
): Promise<PgcopydbOutcome> {
  try {
    drains.push(await drain(pair, pgcopydb, until, { signal, limitSeconds }))
    return { differences: await differencesOf(pair, pgcopydb) }
  } catch (error) {
    if (signal.aborted) throw error
    await pgcopydb.end(true)
    return { reason: error instanceof TimeIsUp ? error.message : errorText(error), differences: [] }
  }
}

async function expectCounts(pgflex: PgflexApplier, shape: Shape): Promise<void> {
  const { changes, transactions, missed } = await pgflex.counted()
  // The row at the end is one more.
  const expected = { changes: shape.changes + 1, transactions: shape.transactions + 1 }
  if (missed !== 0 || changes !== expected.changes || transactions !== expected.transactions) {
    throw new Error(
      `pgflex counted ${changes} changes in ${transactions} transactions, ${missed} of them without a row, of a ` +
        `backlog of ${expected.changes} in ${expected.transactions}.`,
    )
  }
}
