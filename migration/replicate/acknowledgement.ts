import type { Lsn } from '../lsn.ts'
import type { ReplicationStream } from './replication-stream.ts'

/** ms between two records of a place without commits of ours: an idle database on a busy server comes by many. */
const RECORD_MS = 200

export interface AcknowledgementOptions {
  stream: Pick<ReplicationStream, 'acknowledge'>
  /** The place that is recorded on the target, of the last commit or of the last acknowledgement. */
  recorded: Lsn
  /** Records a place durably. @returns false when it must not be acknowledged */
  record(lsn: Lsn): Promise<boolean>
  onError(error: unknown): void
}

/**
 * Tells the source no place that is not recorded on the target before. The progress row records the commits; here,
 * the places in between are. So a slot that stands after what is recorded is known to be another one.
 */
export class Acknowledgement implements Disposable {
  readonly #options: AcknowledgementOptions
  #recorded: Lsn
  /** What the applier has reached in this stream: nothing at first, whatever was recorded before. */
  #wanted: Lsn = 0n
  #timer: NodeJS.Timeout | undefined
  #recording = false
  #ended = false

  constructor(options: AcknowledgementOptions) {
    this.#options = options
    this.#recorded = options.recorded
  }

  /** The progress row has this LSN now. */
  committed(lsn: Lsn): void {
    if (lsn > this.#recorded) this.#recorded = lsn
  }

  /** Everything up to this LSN is durable on the target. */
  acknowledge(lsn: Lsn): void {
    if (lsn > this.#wanted) this.#wanted = lsn
    this.#tell()
    if (this.#wanted > this.#recorded && !this.#recording && this.#timer === undefined) void this.#record()
  }

  #tell(): void {
    this.#options.stream.acknowledge(this.#wanted < this.#recorded ? this.#wanted : this.#recorded)
  }

  async #record(): Promise<void> {
    this.#recording = true
    try {
      const lsn = this.#wanted
      if (!(await this.#options.record(lsn)) || this.#ended) return
      this.committed(lsn)
      this.#tell()
      this.#timer = setTimeout(() => {
        this.#timer = undefined
        if (!this.#ended) this.acknowledge(this.#wanted)
      }, RECORD_MS)
    } catch (error) {
      this.#options.onError(error)
    } finally {
      this.#recording = false
    }
  }

  [Symbol.dispose](): void {
    this.#ended = true
    clearTimeout(this.#timer)
  }
}
