import type { ServerPair } from '../../test/support/servers.ts'
import type { ApplierName } from './applier.ts'
import { callAll, markEnd } from './backlog.ts'
import { drain, expectSameContents, type Drain } from './drain.ts'
import { createNativeApplier, type NativeCommit } from './native-applier.ts'
import { createPgflexApplier } from './pgflex-applier.ts'
import type { Shape } from './shape.ts'

export interface RoundOptions {
  /** Who begins. */
  first: ApplierName
  /** Options of Node for the process of pgflex. */
  execArgv: string[]
  nativeCommit: NativeCommit
  signal: AbortSignal
}

/**
 * Makes one backlog in fresh databases and lets each applier drain it, one after the other, each from its own slot into its own
 * copy of the tables.
 *
 * @throws {Error} when one of them has failed, or brought about anything else than the source has
 */
export async function runRound(pair: ServerPair, shape: Shape, options: RoundOptions): Promise<Drain[]> {
  const { first, execArgv, nativeCommit, signal } = options
  await using pgflex = await createPgflexApplier(pair, execArgv)
  await using native = await createNativeApplier(pair, pgflex.publications, nativeCommit)
  await callAll(pair, shape.calls, { synchronousCommit: 'off' })
  const until = await markEnd(pair)
  const drains: Drain[] = []
  for (const applier of first === 'pgflex' ? [pgflex, native] : [native, pgflex]) {
    signal.throwIfAborted()
    drains.push(await drain(pair, applier, until, signal))
  }
  await expectSameContents(pair, [pgflex, native])
  const { changes, transactions, missed } = await pgflex.counted()
  // The row at the end is one more.
  const expected = { changes: shape.changes + 1, transactions: shape.transactions + 1 }
  if (missed !== 0 || changes !== expected.changes || transactions !== expected.transactions) {
    throw new Error(
      `pgflex counted ${changes} changes in ${transactions} transactions, ${missed} of them without a row, of a ` +
        `backlog of ${expected.changes} in ${expected.transactions}.`,
    )
  }
  await native.remove()
  await pgflex.remove()
  return drains
}
