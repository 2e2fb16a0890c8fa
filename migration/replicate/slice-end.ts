import type { DatabaseContext } from '../context.ts'
import { errorText } from '../errors.ts'
import type { Lsn } from '../lsn.ts'
import type { ReplicationStream } from './replication-stream.ts'

export type SliceReason = 'time' | 'command' | 'draining' | 'reached'

export interface SliceEndOptions {
  ms: number
  /** A promise: it is told while the slice is under way. */
  until?: Lsn | Promise<Lsn>
  onCommand?: () => Promise<boolean>
  /** Told again and again: everything before it is on the target. */
  onPosition?: (position: Lsn) => void
  /** Takes over the stream when `until` is reached, to close it: what follows has not been read. */
  onReached?: (stream: ReplicationStream) => void
}

/** ms between two questions whether the user wants something. */
const COMMAND_MS = 500

/** Knows when a slice is to end, and says so at once. */
export class SliceEnd implements Disposable {
  /** The place to reach; undefined when there is none, or as long as it is not known. */
  until: Lsn | undefined
  /** There is a place to reach, known or not. */
  readonly isHurried: boolean
  readonly onPosition: ((position: Lsn) => void) | undefined
  readonly onReached: ((stream: ReplicationStream) => void) | undefined
  /** Called when the end has come, apart from `until`. */
  onEnd: (() => void) | undefined
  readonly #draining: AbortSignal
  readonly #deadline: number
  readonly #timers: NodeJS.Timeout[] = []
  readonly #wake = (): void => this.onEnd?.()
  #commanded = false
  #asking = false

  constructor({ draining, log, database }: DatabaseContext, options: SliceEndOptions) {
    const { ms, until, onCommand, onPosition, onReached } = options
    this.isHurried = until !== undefined
    this.onPosition = onPosition
    this.onReached = onReached
    if (until instanceof Promise) {
      void until.then((lsn) => {
        this.until = lsn
        this.#wake()
      })
    } else this.until = until
    this.#draining = draining
    this.#deadline = performance.now() + ms
    draining.addEventListener('abort', this.#wake)
    this.#timers.push(setTimeout(this.#wake, ms))
    if (!onCommand) return
    const ask = async (): Promise<void> => {
      if (this.#asking) return
      this.#asking = true
      try {
        this.#commanded ||= await onCommand()
        if (this.#commanded) this.#wake()
      } catch (error) {
        log.warn('The requests of the user could not be read', { database, error: errorText(error) })
      } finally {
        this.#asking = false
      }
    }
    void ask()
    this.#timers.push(setInterval(() => void ask(), COMMAND_MS))
  }

  /** Why to end now, if so. @param position everything before it is on the target */
  reason(position: Lsn): SliceReason | undefined {
    if (this.until !== undefined && position >= this.until) return 'reached'
    if (this.#draining.aborted) return 'draining'
    if (this.#commanded) return 'command'
    return performance.now() >= this.#deadline ? 'time' : undefined
  }

  [Symbol.dispose](): void {
    this.#timers.forEach((timer) => clearTimeout(timer))
    this.#draining.removeEventListener('abort', this.#wake)
  }
}
