import type { Connection } from '../connect.ts'
import { errorText, isTransient, MigrationError, sqlState } from '../errors.ts'
import { breakOff } from './apply/apply-session.ts'

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const ADMIN_SHUTDOWN = '57P01'
const CRASH_SHUTDOWN = '57P02'
const CANNOT_CONNECT_NOW = '57P03'

const WAITS = 'It is tried again by itself; nothing is lost meanwhile, since the source keeps its WAL for the slot.'

/**
 * What has become of a session on the source, in words; what is no loss of a connection stays as it is. All of these
 * are tried again: that a slot is lost is seen when the stream is opened the next time.
 *
 * @returns SourceShutDown, SourceCrashed, SourceStarting, SourceConnectionLost: retryable
 */
export function sourceTrouble(error: unknown): unknown {
  if (error instanceof MigrationError || !isTransient(error)) return error
  const named = (code: string, what: string): MigrationError =>
    new MigrationError(code, `${what} (${errorText(error)}).`, {
      hint: WAITS,
      retryable: true,
      target: 'source',
      cause: error,
    })
  const state = sqlState(error)
  switch (state) {
    case ADMIN_SHUTDOWN:
      return named('SourceShutDown', 'The source is shut down or restarted, or an administrator ended our session')
    case CRASH_SHUTDOWN:
      return named('SourceCrashed', 'The source ended all its sessions because one of its processes crashed')
    case CANNOT_CONNECT_NOW:
      return named('SourceStarting', 'The source is starting up or shutting down')
    case undefined:
      return named('SourceConnectionLost', 'The connection to the source was lost')
    default:
      return state.startsWith('08') ? named('SourceConnectionLost', 'The connection to the source was lost') : error
  }
}

/** The source is there and does not answer: frozen, or cut off by a network that says nothing. */
export function sourceSilent(ms: number): MigrationError {
  return new MigrationError(
    'SourceSilent',
    `The source has not answered for ${Math.round(ms / 1000)} s, although the connection stands.`,
    {
      hint: `See that the server is not overloaded or stopped, and the network between. ${WAITS}`,
      retryable: true,
      target: 'source',
    },
  )
}

/** ms for an answer to one of our small queries: more than an overloaded server takes, less than a user waits. */
const ANSWER_MS = 30_000

/** A session of the source whose queries name its troubles; one that does not answer is broken off. */
export function namingTroubles(source: Connection, answerMs = ANSWER_MS): Connection {
  const query = source.query.bind(source) as (...args: unknown[]) => Promise<unknown>
  return Object.assign(source, {
    async query(...args: unknown[]) {
      let silent = false
      const timer = setTimeout(() => {
        silent = true
        breakOff(source)
      }, answerMs)
      try {
        return await query(...args)
      } catch (error) {
        throw silent ? sourceSilent(answerMs) : sourceTrouble(error)
      } finally {
        clearTimeout(timer)
      }
    },
  })
}
