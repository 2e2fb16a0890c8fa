/** What the process ends with. */
export const EXIT = { ok: 0, failed: 1, usage: 2, notFound: 3, validationFailed: 4, timedOut: 5 } as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** An end that the user can understand: what happened, and what to do. */
export class CliError extends Error {
  readonly exitCode: ExitCode
  readonly hint: string | undefined

  constructor(message: string, options: { exitCode?: ExitCode; hint?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause })
    this.name = 'CliError'
    this.exitCode = options.exitCode ?? EXIT.failed
    this.hint = options.hint
  }
}
