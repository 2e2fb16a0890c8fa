/** What went wrong in words for a DBA: what happened, why, and what to do. */
export interface MigrationErrorOptions {
  /** The next step for the user, a full sentence, with the SQL statement when there is one. */
  hint?: string
  /** True when the same call can succeed later without anybody changing anything. */
  retryable?: boolean
  /** The field of the request or the server that the error is about. */
  target?: string
  cause?: unknown
}

/**
 * The one error class of the engine. `code` is stable and greppable: Microsoft's number where the Azure
 * service has one (603100 …), else a word of ours such as `SlotLost`.
 */
export class MigrationError extends Error {
  readonly code: string
  readonly hint: string | undefined
  readonly retryable: boolean
  readonly target: string | undefined

  constructor(code: string, message: string, options: MigrationErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.name = 'MigrationError'
    this.code = code
    this.hint = options.hint
    this.retryable = options.retryable ?? false
    this.target = options.target
  }
}

/** The plain form of an expected failure, as activities return it: orchestrations branch on `code`. */
export interface Failure {
  ok: false
  code: string
  message: string
  hint?: string
  retryable: boolean
}

/** Turns anything thrown into a {@link Failure}; PostgreSQL errors keep their SQLSTATE as the code. */
export function toFailure(error: unknown): Failure {
  if (error instanceof MigrationError) {
    return {
      ok: false,
      code: error.code,
      message: error.message,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      retryable: error.retryable,
    }
  }
  return { ok: false, code: sqlState(error) ?? 'Unexpected', message: errorText(error), retryable: isTransient(error) }
}

/** The SQLSTATE of a PostgreSQL error, or undefined. https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function sqlState(error: unknown): string | undefined {
  const { code, errno } = (error ?? {}) as { code?: unknown; errno?: unknown }
  // The system's own errors have five letters too, such as EPIPE of a connection that was lost while writing.
  if (errno !== undefined) return undefined
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
}

/** One line: the message, PostgreSQL's detail and hint, and the SQLSTATE. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { detail, hint } = error as { detail?: string; hint?: string }
  const state = sqlState(error)
  const parts = [error.message || error.name, detail, hint].filter((part) => part !== undefined && part !== '')
  // An AggregateError of happy-eyeballs connects has an empty message: its first cause says why.
  if (error instanceof AggregateError && error.message === '') parts[0] = errorText(error.errors[0])
  return parts.join(' ') + (state === undefined ? '' : ` (SQLSTATE ${state})`)
}

const TRANSIENT_SQLSTATES = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '53300', // too_many_connections
  '55006', // object_in_use: a slot that is still active for a process that is going away
  '55P03', // lock_not_available: our own lock_timeout
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now: starting up or shutting down
])

const TRANSIENT_SYSTEM_ERRORS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
])

/** True for errors that go away by themselves: connection lost, server restarting, deadlock, too many clients. */
export function isTransient(error: unknown): boolean {
  if (error instanceof MigrationError) return error.retryable
  if (error instanceof AggregateError) return error.errors.some(isTransient)
  const state = sqlState(error)
  if (state !== undefined) return state.startsWith('08') || TRANSIENT_SQLSTATES.has(state)
  const code = (error as { code?: unknown } | null | undefined)?.code
  if (typeof code === 'string' && TRANSIENT_SYSTEM_ERRORS.has(code)) return true
  // node-postgres reports a lost connection without a code.
  return (
    error instanceof Error &&
    /^Connection terminated|^timeout expired|^Client has encountered a connection error/.test(error.message)
  )
}
