/** What stands in the way of starting, in words for the person who starts the host; shown without a stack. */
export class StartupError extends Error {
  readonly exitCode: number
  constructor(message: string, { exitCode = 1, cause }: { exitCode?: number; cause?: unknown } = {}) {
    super(message, { cause })
    this.exitCode = exitCode
  }
}

/** A mistake in the command itself. */
export const usageError = (message: string, cause?: unknown) => new StartupError(message, { exitCode: 2, cause })
