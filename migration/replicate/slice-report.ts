import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { errorText } from '../errors.ts'
import type { Applier } from './apply/applier.ts'
import { total } from './apply/change-counts.ts'
import type { DatabaseStatus } from '../model/status.ts'
import { readCutoverFacts } from './cutover-facts.ts'
import { latencySeconds } from './latency.ts'
import type { FollowWarnings } from './follow-warnings.ts'
import type { Marking } from './marking.ts'
import type { Progress } from './progress.ts'
import type { SlotState } from './replication-slot.ts'
import type { ReplicationStream } from './replication-stream.ts'
import { RetainedWalWatch, slotStatus } from './retained-wal-watch.ts'
import { addSample, thinSamples } from './samples.ts'
import { SourceMarks } from './source-marks.ts'
import { sourceSilent } from './source-trouble.ts'
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
/**
 * ms without a word from the source, in spite of a question each second, after which the stream is given up: twice
 * the default of wal_receiver_timeout, after which PostgreSQL's own subscriber gives up.
 */
const SILENT_MS = 120_000

/** What follows at the moment; replaced when the stream is opened again. */
export interface Following {
  stream: ReplicationStream
  applier: Applier
  marking: Marking
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
  readonly #marks: SourceMarks
  readonly #wal: RetainedWalWatch
  #slot: SlotState | undefined
  #looks = 0

  /** @param source, catalog connections that are free to use, one to each side */
  constructor(context: DatabaseContext, source: Connection, catalog: Connection, slotName: string) {
    this.#context = context
    this.#source = source
    this.#catalog = catalog
    this.#slotName = slotName
    this.#marks = new SourceMarks(source)
    this.#wal = new RetainedWalWatch(context, slotName)
  }

  /** When the target had everything, by the source's clock, ms. It is known from before, too. */
  get caughtUpAt(): number | undefined {
    return this.#marks.caughtUpAt
  }

  set caughtUpAt(time: number) {
    this.#marks.caughtUpAt = Math.max(this.#marks.caughtUpAt ?? 0, time)
  }

  /** Reports until the signal is aborted. @throws when one of the servers is lost */
  async run(signal: AbortSignal): Promise<void> {
    await thinSamples(this.#catalog)
    for (let looks = 0; !signal.aborted; looks++) {
      const begin = performance.now()
      await this.look(signal)
      // Not in look(): the end of a slice does not wait for it.
      if (looks % LOOKS_PER_TABLES === 0 && !signal.aborted) {
        const tables = await readUnfollowedTables(this.#context, this.#source, this.#catalog)
        this.following?.warnings.unfollowed(tables)
        const cutoverFacts = await readCutoverFacts(this.#context, this.#source, this.#catalog, tables)
        await this.#store((status) => ({ ...status, cutoverFacts }))
      }
      await pause(Math.max(0, REPORT_MS - (performance.now() - begin)), signal)
    }
  }

  /** One look, and what it says. */
  async look(signal?: AbortSignal): Promise<void> {
    const { following } = this
    if (!following) return
    const { applier, stream, marking } = following
    await marking.look()
    const mark = await this.#marks.take()
    await marking.say(mark.lsn)
    stream.ping()
    const limit = performance.now() + CATCH_UP_MS
    while (applier.position < mark.lsn && performance.now() < limit && signal?.aborted !== true) await pause(5)
    // Read together: whatever is not pending and not before the position has not arrived.
    const { position, oldestPendingCommit } = applier
    this.#marks.reached(position)
    const latency = latencySeconds({ mark, position, oldestPendingCommit, caughtUpAt: this.caughtUpAt })
    this.latencySeconds = latency ?? this.latencySeconds
    this.lagBytes = position >= mark.lsn ? 0 : Number(mark.lsn - position)
    if (stream.silentMs > SILENT_MS) throw sourceSilent(stream.silentMs)
    if (this.#looks % LOOKS_PER_SLOT === 0) {
      this.#slot = await this.#wal.look(this.#source)
    }
    if (this.#looks % LOOKS_PER_POINT === 0) await this.#addPoint(following)
    this.#looks++
    await this.#writeStatus(following)
  }

  async #writeStatus({ applier, progress, missed }: Following): Promise<void> {
    const { applied } = applier
    const appliedChanges = total(progress) + total(applied)
    const latency = this.latencySeconds
    await this.#store((status) => ({
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
      ...(this.#slot ? { slot: slotStatus(this.#slotName, this.#slot) } : {}),
    }))
  }

  async #store(change: (status: DatabaseStatus) => DatabaseStatus): Promise<void> {
    try {
      await this.#context.status(change)
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
    await addSample(this.#catalog, {
      latencySeconds: this.latencySeconds,
      lagBytes: this.lagBytes ?? 0,
      changesApplied: total(progress) + total(applier.applied),
    })
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
