import type { DatabaseContext } from '../context.ts'
import { errorText } from '../errors.ts'
import type { Lsn } from '../lsn.ts'

export type SliceReason = 'time' | 'command' | 'draining' | 'reached'

export interface SliceEndOptions {
  ms: number
  until?: Lsn
  onCommand?: () => Promise<boolean>
}

/** ms between two questions whether the user wants something. */
const COMMAND_MS = 500

/** Knows when a slice is to end, and says so at once. */
export class SliceEnd implements Disposable {
  readonly until: Lsn | undefined
  /** Called when the end has come, apart from `until`. */
  onEnd: (() => void) | undefined
  readonly #draining: AbortSignal
  readonly #deadline: number
  readonly #timers: NodeJS.Timeout[] = []
  readonly #wake = (): void => this.onEnd?.()
  #commanded = false
  #asking = false

  constructor({ draining, log, database }: DatabaseContext, { ms, until, onCommand }: SliceEndOptions) {
    this.until = until
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
