/**
 * What has been received and not yet been taken, in order and bounded in bytes: beyond the bound the sender
 * is held up until they are taken.
 */
export class MessageQueue<T> {
  readonly #limit: number
  readonly #hold: (held: boolean) => void
  #items: T[] = []
  #bytes = 0
  #held = false
  #woken = false
  #failure: { error: unknown } | undefined
  #waiter: (() => void) | undefined

  /** @param hold called with true to stop the sender, with false to let it go on */
  constructor(limitBytes: number, hold: (held: boolean) => void) {
    this.#limit = limitBytes
    this.#hold = hold
  }

  get bytes(): number {
    return this.#bytes
  }

  get last(): T | undefined {
    return this.#items.at(-1)
  }

  put(item: T, bytes: number): void {
    // What follows something that was not understood means nothing.
    if (this.#failure) return
    this.#items.push(item)
    this.#bytes += bytes
    if (this.#bytes >= this.#limit) this.#setHeld(true)
    this.#waiter?.()
  }

  /** The next {@link take} throws it, after all that came before has been taken. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#waiter?.()
  }

  /** Lets a waiting {@link take} return at once, with nothing if there is nothing. */
  wake(): void {
    this.#woken = true
    this.#waiter?.()
  }

  /** Everything there is; waits for it at most `waitMs`. */
  async take(waitMs: number): Promise<T[]> {
    if (this.#items.length === 0 && !this.#failure && !this.#woken && waitMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs)
        this.#waiter = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#waiter = undefined
    }
    this.#woken = false
    if (this.#items.length === 0 && this.#failure) throw this.#failure.error
    const items = this.#items
    this.#items = []
    this.#bytes = 0
    this.#setHeld(false)
    return items
  }

  #setHeld(held: boolean): void {
    if (held === this.#held) return
    this.#held = held
    this.#hold(held)
  }
}
