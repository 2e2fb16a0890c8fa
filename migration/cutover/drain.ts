import { setTimeout } from 'node:timers/promises'
import type { DatabaseContext } from '../context.ts'
import { MigrationError } from '../errors.ts'
import { formatLsn, type Lsn } from '../lsn.ts'
import { replicateSlice } from '../replicate/replicate-slice.ts'
import type { ReplicationStream } from '../replicate/replication-stream.ts'
import { lateWrites } from './late-writers.ts'

/** s; how long the drain may take beyond the latency that a cutover may begin with. */
const DRAIN_ALLOWANCE = 60

/** ms for a slice to end: it waits for both servers. One that goes on applies nothing that is not to be applied. */
const END_MS = 2_000

/** Follows the source through the freeze, up to the end. */
export interface Drain extends AsyncDisposable {
  /**
   * Waits until the target has what the source committed before this LSN, while the source still writes.
   *
   * @throws {MigrationError} DrainTooSlow, and whatever following throws
   */
  near(lsn: Lsn): Promise<void>
  /** Ends when everything that the source committed before this LSN is on the target: the sooner it is told, the better. */
  endAt(lsn: Lsn): void
  /**
   * Waits for the end.
   *
   * @throws {MigrationError} LateWrites, DrainTooSlow, and whatever following throws
   */
  to(lsn: Lsn): Promise<void>
  /** The stream goes on after the end, unread: what comes in it was committed later. Undefined when it could not be kept. */
  after(): ReplicationStream | undefined
}

/**
 * Begins to follow before writes are stopped: a stream decodes all WAL anew from the last place where the slot can
 * begin, which is up to 15 s of it, and reads the definition of each table at its first change. After that the drain
 * is as long as the latency.
 */
export function beginDrain(context: DatabaseContext): Drain {
  const seconds = drainSeconds(context)
  const goal = Promise.withResolvers<Lsn>()
  const over = new AbortController()
  const draining = AbortSignal.any([context.draining, over.signal])
  let reached: Lsn = 0n
  let moved = Promise.withResolvers<void>()
  let stream: ReplicationStream | undefined
  const slice = replicateSlice(
    { ...context, draining },
    {
      // To catch up, and to reach the end; what is between them is short.
      ms: 2 * seconds * 1000,
      until: goal.promise,
      onPosition(position) {
        if (position === reached) return
        reached = position
        moved.resolve()
        moved = Promise.withResolvers()
      },
      onReached(open) {
        // Whoever has given up in the meantime closes nothing any more.
        if (over.signal.aborted) void open[Symbol.asyncDispose]()
        else stream = open
      },
    },
  )
  // Whoever waits for a place is told; until then it is not unhandled.
  slice.catch(() => {})
  return {
    async near(lsn) {
      const { promise: late, resolve } = Promise.withResolvers<'late'>()
      const timer = globalThis.setTimeout(() => resolve('late'), seconds * 1000)
      try {
        while (reached < lsn) {
          const first = await Promise.race([moved.promise, slice, late])
          if (first === 'late') throw tooSlow(lsn, seconds)
          // It has ended, since another copy is at work, or the host stops: to() goes on.
          if (first !== undefined) return
        }
      } finally {
        clearTimeout(timer)
      }
    },
    endAt: (lsn) => goal.resolve(lsn),
    async to(lsn) {
      goal.resolve(lsn)
      const { reason, changedLsn } = await slice
      // Applied before the end was known here: it came after it all the same.
      if (changedLsn > lsn) throw await lateWrites(context, 'Some')
      if (reason !== 'reached') await drain(context, lsn)
    },
    after: () => stream,
    async [Symbol.asyncDispose]() {
      // A large transaction may be arriving: it is left for later.
      over.abort()
      // The next call comes after this; a target may not answer at all.
      await Promise.race([slice.catch(() => {}), setTimeout(END_MS, undefined, { ref: false })])
      await stream?.[Symbol.asyncDispose]()
    },
  }
}

/**
 * Follows up to a place that is known.
 *
 * @returns the number of row changes that were applied on the way
 * @throws {MigrationError} DrainTooSlow, and whatever following throws
 */
export async function drain(context: DatabaseContext, until: Lsn): Promise<number> {
  const seconds = drainSeconds(context)
  const deadline = Date.now() + seconds * 1000
  let changes = 0
  for (;;) {
    const slice = await replicateSlice(context, { ms: Math.max(1000, deadline - Date.now()), until })
    changes += slice.changes
    if (slice.reason === 'reached') return changes
    context.draining.throwIfAborted()
    if (Date.now() > deadline) throw tooSlow(until, seconds)
    if (slice.reason === 'busy') await setTimeout(200)
  }
}

function drainSeconds(context: DatabaseContext): number {
  return context.record.properties.pgflex.maxLatencySecondsForCutover + DRAIN_ALLOWANCE
}

function tooSlow(until: Lsn, seconds: number): MigrationError {
  return new MigrationError('DrainTooSlow', `The target did not reach ${formatLsn(until)} within ${seconds} s.`, {
    hint: 'Wait until the latency is small, and cut over again.',
  })
}
