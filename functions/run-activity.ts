import type { InvocationContext } from '@azure/functions'
import * as df from 'durable-functions'
import {
  databaseContext,
  serverContext,
  type DatabaseContext,
  type ServerContext,
  type Surroundings,
} from '../migration/context.ts'
import { MigrationError, toFailure } from '../migration/errors.ts'
import { reversed } from '../migration/fallback/reversed-context.ts'
import type { Logger } from '../migration/log.ts'
import type { Activities, ActivityName, ActivityResult, DatabaseInput } from '../migration/model/activity.ts'
import { ofWayBack } from '../migration/model/fallback.ts'
import { isAsked } from '../migration/model/record.ts'
import { readRecord } from '../migration/store/migrations.ts'
import { surroundings } from './environment.ts'

/** ms; how soon running work notices that the user has cancelled it. */
const CANCEL_POLL_MS = 1_000

/** Before the message of a database whose work failed and is tried again; it goes with the first success. */
const RETRYING = 'Trying again: '

type Result<N extends ActivityName> = Promise<Activities[N]['result']>
type DatabaseActivityName = {
  [N in ActivityName]: Activities[N]['input'] extends DatabaseInput ? N : never
}[ActivityName]

/** Registers an activity of the migration as a whole. */
export function serverActivity<N extends ActivityName>(
  name: N,
  run: (context: ServerContext, input: Activities[N]['input']) => Result<N>,
): void {
  register(name, async (base, input) => run(await serverContext(base, input.key), input))
}

/**
 * Registers an activity of one database. It ends early when the user cancels that database, and does not
 * begin then, but for those that clean up.
 */
export function databaseActivity<N extends DatabaseActivityName>(
  name: N,
  run: (context: DatabaseContext, input: Activities[N]['input']) => Result<N>,
  { evenIfCanceled = false } = {},
): void {
  register(name, async (base, input) => {
    if (evenIfCanceled) return run(databaseContext(await serverContext(base, input.key), input.database), input)
    await using cancel = watchForCancel(base, input)
    const context = databaseContext(
      await serverContext({ ...base, draining: cancel.signal }, input.key),
      input.database,
    )
    if (isAsked(context.record, 'cancel', input.database)) throw canceled(input.database)
    const result = await run(context, input).catch(async (error: unknown) => {
      if (cancel.requested()) throw canceled(input.database)
      // Shown also where the orchestration will give up: the end of the database brings its own message.
      const { message, hint } = toFailure(error)
      await context.status({ message: RETRYING + (hint === undefined ? message : `${message} ${hint}`) })
      throw error
    })
    // Work that is done stays done: the next activity does not begin for a database that is cancelled.
    await context.status((status) =>
      status.message?.startsWith(RETRYING) ? { ...status, message: undefined } : status,
    )
    return result
  })
}

/**
 * Registers an activity of the way back of one database, which goes on when all else of the migration has ended or was
 * cancelled. Its failures are told in its own status.
 */
export function fallbackActivity<N extends DatabaseActivityName>(
  name: N,
  run: (context: DatabaseContext, input: Activities[N]['input']) => Result<N>,
): void {
  register(name, async (base, input) => {
    const context = databaseContext(await serverContext(base, input.key), input.database)
    const back = reversed(context)
    const result = await run(context, input).catch(async (error: unknown) => {
      const { message, hint } = toFailure(error)
      await back.status((status) => ({
        ...status,
        // The last figure could be a 0 that is not true any more.
        latencySeconds: undefined,
        lagBytes: undefined,
        message: RETRYING + ofWayBack(hint === undefined ? message : `${message} ${hint}`),
      }))
      throw error
    })
    await back.status((status) => (status.message?.startsWith(RETRYING) ? { ...status, message: undefined } : status))
    return result
  })
}

/** An expected failure becomes a value: the orchestration branches on its code. Everything is logged here, once. */
function register<N extends ActivityName>(
  name: N,
  run: (base: Surroundings, input: Activities[N]['input']) => Result<N>,
): void {
  df.app.activity(name, {
    handler: async (input: Activities[N]['input'], context: InvocationContext): Promise<ActivityResult<N>> => {
      const log = invocationLogger(context)
      try {
        return { ok: true, ...(await run(await surroundings(log), input)) }
      } catch (error) {
        const failure = toFailure(error)
        if (failure.code !== 'Canceled') {
          const { key: migration, ...rest } = input
          log.error(`${name} failed`, { migration, ...rest, code: failure.code, message: failure.message })
        }
        if (failure.code === 'Unexpected') log.error('stack', { stack: (error as Error).stack })
        return failure
      }
    },
  })
}

function canceled(database: string): MigrationError {
  return new MigrationError('Canceled', `The migration of "${database}" was cancelled.`)
}

/** A signal that is aborted when the host stops or the user cancels. */
function watchForCancel(
  base: Surroundings,
  { key, database }: DatabaseInput,
): AsyncDisposable & { signal: AbortSignal; requested(): boolean } {
  const cancel = new AbortController()
  let looking: Promise<void> = Promise.resolve()
  const look = async (): Promise<void> => {
    const record = await readRecord(base.documents, key).catch(() => undefined)
    if (record && isAsked(record, 'cancel', database)) cancel.abort(canceled(database))
  }
  const timer = setInterval(() => {
    looking = look()
  }, CANCEL_POLL_MS)
  return {
    signal: AbortSignal.any([base.draining, cancel.signal]),
    requested: () => cancel.signal.aborted,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await looking
    },
  }
}

/** One line for each message: the words, then the values as JSON. */
export function invocationLogger(context: Pick<InvocationContext, 'info' | 'warn' | 'error'>): Logger {
  const line = (message: string, values?: Record<string, unknown>): string =>
    values === undefined ? message : `${message} ${JSON.stringify(values)}`
  return {
    info: (message, values) => context.info(line(message, values)),
    warn: (message, values) => context.warn(line(message, values)),
    error: (message, values) => context.error(line(message, values)),
  }
}
