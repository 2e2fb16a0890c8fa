/** Questions that may come due while one is without an answer: a busy server takes its time. */
const UNANSWERED = 3

export interface SilenceOptions {
  everyMs: number
  /** A question that a server which does anything answers at once. */
  ask: () => Promise<void>
  /** Told, again and again, that there has been no answer for so long. */
  onSilent: (ms: number) => void
}

/**
 * Finds a server that takes everything and answers nothing, as one that hangs does, or one whose machine is gone: a
 * session that waits for it would be told after a quarter of an hour, or never. Counted in questions that came due, and
 * not in seconds: this process may have stood still itself.
 */
export function watchForSilence({ everyMs, ask, onSilent }: SilenceOptions): Disposable {
  let due = 0
  const timer = setInterval(() => {
    due++
    if (due > UNANSWERED) onSilent(UNANSWERED * everyMs)
    if (due === 1) void ask().finally(() => (due = 0))
  }, everyMs)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Waits for work, but no longer than until the signal is aborted; what is left to itself then, nobody waits for. */
export async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason as Error)
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort)
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
    work.catch(() => {})
  }
}
