import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { errorText } from '../errors.ts'
import type { Applier } from './apply/applier.ts'
import { total } from './apply/change-counts.ts'
import { latencySeconds, sampleSource } from './latency.ts'
import type { FollowWarnings } from './follow-warnings.ts'
import type { Progress } from './progress.ts'
import { readSlot, type SlotState } from './replication-slot.ts'
import type { ReplicationStream } from './replication-stream.ts'
import { readUnfollowedTables } from './unfollowed-tables.ts'

/** ms between two looks at the source. */
const REPORT_MS = 1_000
/** ms for the target to come to the place where the source was at the look. */
const CATCH_UP_MS = 100
/** Looks for each point of the plots, and for each look at the slot. */
const LOOKS_PER_POINT = 2
const LOOKS_PER_SLOT = 5
/** Looks for each look at which tables there are, from the first one on. */
const LOOKS_PER_TABLES = 10

/** What follows at the moment; replaced when the stream is opened again. */
export interface Following {
  stream: ReplicationStream
  applier: Applier
  /** As it was when the stream began. */
  progress: Progress
  missed: number
  warnings: FollowWarnings
}

/** Tells status page and plots where a slice is. */
export class SliceReport {
  readonly #context: DatabaseContext
  readonly #source: Connection
  readonly #catalog: Connection
  readonly #slotName: string
  following: Following | undefined
  latencySeconds: number | undefined
  lagBytes: number | undefined
  /** When the target had everything, by the source's clock, ms. */
  #caughtUpAt: number | undefined
  #slot: SlotState | undefined
  #looks = 0

  /** @param source, catalog connections that are free to use, one to each side */
  constructor(context: DatabaseContext, source: Connection, catalog: Connection, slotName: string) {
    this.#context = context
    this.#source = source
    this.#catalog = catalog
    this.#slotName = slotName
  }

  /** Reports until the signal is aborted. @throws when one of the servers is lost */
  async run(signal: AbortSignal): Promise<void> {
    for (let looks = 0; !signal.aborted; looks++) {
      const begin = performance.now()
      await this.look(signal)
      // Not in look(): the end of a slice does not wait for it.
      if (looks % LOOKS_PER_TABLES === 0 && !signal.aborted) {
        const tables = await readUnfollowedTables(this.#context, this.#source, this.#catalog)
        this.following?.warnings.unfollowed(tables)
      }
      await pause(Math.max(0, REPORT_MS - (performance.now() - begin)), signal)
    }
  }

  /** One look, and what it says. */
  async look(signal?: AbortSignal): Promise<void> {
    const { following } = this
    if (!following) return
    const sample = await sampleSource(this.#source)
    const { applier, stream } = following
    stream.ping()
    const limit = performance.now() + CATCH_UP_MS
    while (applier.position < sample.flushLsn && performance.now() < limit && signal?.aborted !== true) await pause(5)
    const { position, oldestPendingCommit } = applier
    const latency = latencySeconds({ sample, position, oldestPendingCommit, caughtUpAt: this.#caughtUpAt })
    if (latency === 0) this.#caughtUpAt = sample.time
    this.latencySeconds = latency ?? this.latencySeconds
    this.lagBytes = position >= sample.flushLsn ? 0 : Number(sample.flushLsn - position)
    if (this.#looks % LOOKS_PER_SLOT === 0) this.#slot = await readSlot(this.#source, this.#slotName)
    if (this.#looks % LOOKS_PER_POINT === 0) await this.#addPoint(following)
    this.#looks++
    await this.#writeStatus(following)
  }

  async #writeStatus({ applier, progress, missed }: Following): Promise<void> {
    const { applied } = applier
    const appliedChanges = total(progress) + total(applied)
    const latency = this.latencySeconds
    try {
      await this.#context.status((status) => ({
        ...status,
        changes: {
          inserts: progress.inserts + applied.inserts,
          updates: progress.updates + applied.updates,
          deletes: progress.deletes + applied.deletes,
          truncates: progress.truncates + applied.truncates,
          transactions: progress.transactions + applied.transactions,
          applied: appliedChanges,
          incoming: appliedChanges + applier.pendingChanges,
          missed: progress.missed + missed,
        },
        lagBytes: this.lagBytes,
        ...(latency === undefined
          ? {}
          : { latencySeconds: latency, maxLatencySeconds: Math.max(status.maxLatencySeconds ?? 0, latency) }),
        ...(this.#slot
          ? { slot: { name: this.#slotName, walStatus: this.#slot.walStatus, retainedBytes: this.#slot.retainedBytes } }
          : {}),
      }))
    } catch (error) {
      // The data does not wait for the page.
      this.#context.log.warn('The status could not be stored', {
        database: this.#context.database,
        error: errorText(error),
      })
    }
  }

  async #addPoint({ applier, progress }: Following): Promise<void> {
    if (this.latencySeconds === undefined) return
    await this.#catalog.query(
      `insert into pgflex.sample (latency_seconds, lag_bytes, rows_copied, bytes_copied, changes_applied)
       select $1, $2, coalesce(sum(rows_done), 0), coalesce(sum(bytes_done), 0), $3 from pgflex.table_copy`,
      [this.latencySeconds, this.lagBytes, total(progress) + total(applier.applied)],
    )
  }
}

/** Waits, at most until the signal is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    if (signal?.aborted === true) done()
    else signal?.addEventListener('abort', done)
  })
}
