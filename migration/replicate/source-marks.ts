import type { Connection } from '../connect.ts'
import { sqlState } from '../errors.ts'
import type { Lsn } from '../lsn.ts'
import { sampleSource, type SourceMark } from './latency.ts'

/** Marks that are kept while the target does not come to them: some minutes, and after that fewer for each minute. */
const KEPT = 512

/** The marks of a source, and which of them the target has come to; see latency.ts. */
export class SourceMarks {
  readonly #source: Connection
  /** In order; those that the target has not come to. */
  #ahead: { time: number; lsn: Lsn }[] = []
  #mayWrite: boolean
  /** When the target had everything, by the source's clock, ms. */
  caughtUpAt: number | undefined

  /** @param source a connection that is free to use */
  constructor(source: Connection, { mayWrite = true } = {}) {
    this.#source = source
    this.#mayWrite = mayWrite
  }

  /** A mark of now. What stands before it is flushed, where the source lets us write. */
  async take(): Promise<SourceMark> {
    const mark = await sampleSource(this.#source)
    if (mark.flushLsn < mark.lsn && !mark.isStandby && this.#mayWrite) await this.#flush()
    this.#ahead.push({ time: mark.time, lsn: mark.lsn })
    // A mark less makes what is said of the time before it less exact, and never too little.
    if (this.#ahead.length > KEPT) this.#ahead = this.#ahead.filter((_, i) => i % 2 === 0)
    return mark
  }

  /** The target has everything that the source committed before this LSN. */
  reached(position: Lsn): void {
    const count = this.#ahead.filter(({ lsn }) => lsn <= position).length
    if (count === 0) return
    this.caughtUpAt = Math.max(this.caughtUpAt ?? 0, this.#ahead[count - 1]!.time)
    this.#ahead.splice(0, count)
  }

  async #flush(): Promise<void> {
    try {
      await this.#source.query(FLUSH)
    } catch (error) {
      // Without the right to do it, or read-only: WAL is flushed a little later by itself.
      if (sqlState(error) === undefined) throw error
      this.#mayWrite = false
    }
  }
}

/**
 * PostgreSQL 17 flushes a message by itself. Before, the commit of a transactional one does, which takes a
 * transaction id; "local", since a synchronous standby that is away is not to hold us up.
 * https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-REPLICATION
 */
const FLUSH = `
  set synchronous_commit = local;
  do $$
  begin
    if current_setting('server_version_num')::int >= 170000 then
      perform pg_logical_emit_message(false, 'pgflex', 'flush', true);
    else
      perform pg_logical_emit_message(true, 'pgflex', 'flush');
    end if;
  end $$`
