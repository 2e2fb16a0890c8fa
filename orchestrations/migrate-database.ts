import type { OrchestrationContext, Task } from 'durable-functions'
import type { Activities, DatabaseOutcome, MigrateDatabaseInput } from '../migration/model/activity.ts'
import { ActivityFailed, after, call, isFinal, schedule, settle } from './activity.ts'

/** Slices of one generation: each adds some rows to the history, which is replayed at every step. */
const SLICES_PER_GENERATION = 20
/** s; another copy of the slice is at work: look again when its lease may have ended. */
const BUSY_PAUSE = 5
/** s; between attempts to bring changes back that keep failing. */
const BACK_PAUSE = 30

/**
 * Migrates one database: schema, slot, load, indexes, then replication slices in an eternal loop until the
 * cutover, then the clean-up. Whatever happens to it ends here, so that it leaves the other databases alone.
 */
export function* migrateDatabase(context: OrchestrationContext): Generator<Task, DatabaseOutcome | undefined, unknown> {
  const input = context.df.getInput<MigrateDatabaseInput>()!
  const { key, database } = input
  if (input.stage === 'fallback') return yield* wayBack(context, input)
  let outcome: DatabaseOutcome
  try {
    if (input.stage === 'load') yield* load(context, input)
    const cutOver = yield* follow(context, input)
    if (!cutOver) {
      context.df.continueAsNew({ ...input, stage: 'follow' } satisfies MigrateDatabaseInput)
      return undefined
    }
    outcome = { state: 'Succeeded' }
  } catch (error) {
    outcome = outcomeOf(error)
  }
  // Ending may be cut short by a host that stops: it says so, and goes on in the next call.
  for (;;) {
    const { finished, fallback } = yield* call(context, 'endDatabase', { key, database, outcome }, 'forever')
    if (!finished) continue
    if (fallback !== true) return outcome
    context.df.continueAsNew({ ...input, stage: 'fallback' } satisfies MigrateDatabaseInput)
    return undefined
  }
}

/**
 * Brings changes back to the old source until the user switches back or ends it. The migration of the database is over
 * and has succeeded, whatever becomes of this.
 */
function* wayBack(
  context: OrchestrationContext,
  input: MigrateDatabaseInput,
): Generator<Task, DatabaseOutcome | undefined, unknown> {
  const { key, database } = input
  let failure: string | undefined
  try {
    if (!(yield* followBack(context, { key, database }))) {
      context.df.continueAsNew(input)
      return undefined
    }
  } catch (error) {
    if (!(error instanceof ActivityFailed)) throw error
    failure = error.message
  }
  const end = { key, database, ...(failure === undefined ? {} : { failure }) }
  while (!(yield* call(context, 'endFallback', end, 'forever')).finished);
  return { state: 'Succeeded' }
}

/** @returns true when the way back is to end, false when it is time for a new generation */
function* followBack(
  context: OrchestrationContext,
  input: { key: string; database: string },
): Generator<Task, boolean, unknown> {
  context.df.setCustomStatus({ database: input.database, phase: 'fallback' })
  for (let slice = 0; slice < SLICES_PER_GENERATION; slice++) {
    const next = yield* followBackOnce(context, input)
    if (next === 'busy') yield context.df.createTimer(after(context, BUSY_PAUSE))
    if (next === 'end') return true
    if (next === 'switchBack' && (yield* call(context, 'switchBack', input, 'forever')).next === 'finished') return true
  }
  return false
}

function* load(
  context: OrchestrationContext,
  { key, database, online }: MigrateDatabaseInput,
): Generator<Task, void, unknown> {
  context.df.setCustomStatus({ database, phase: 'load' })
  yield* call(context, 'prepareDatabase', { key, database }, 'few')
  if (online) yield* call(context, 'createSlot', { key, database })
  const { width } = yield* call(context, 'planLoad', { key, database })
  // Offline everything is of one moment, which one activity holds.
  if (online) yield* copyTogether(context, { key, database }, width)
  yield* copyAllTables(context, { key, database })
  while (!(yield* call(context, 'copyLargeObjects', { key, database })).finished);
  while (!(yield* call(context, 'buildIndexes', { key, database })).finished);
}

/**
 * Copies tables in several activities, and has the indexes of those that are in built meanwhile. What one of them
 * fails over or leaves is told and done by those after it, which run with retries.
 */
function* copyTogether(
  context: OrchestrationContext,
  input: { key: string; database: string },
  width: number,
): Generator<Task, void, unknown> {
  const workers = Array.from({ length: width }, (_, worker) => schedule(context, 'copyTables', { ...input, worker }))
  const tasks = [...workers, schedule(context, 'startIndexes', input)]
  yield* settle([context.df.Task.all(tasks), ...tasks])
}

function* copyAllTables(
  context: OrchestrationContext,
  input: { key: string; database: string },
): Generator<Task, void, unknown> {
  for (;;) {
    const { remaining, errored } = yield* call(context, 'copyTables', { ...input, worker: 0 })
    if (remaining > 0) {
      yield context.df.createTimer(after(context, 1))
      continue
    }
    if (errored === 0) return
    throw new ActivityFailed({
      ok: false,
      code: 'TablesErrored',
      message: `${errored} ${errored === 1 ? 'table' : 'tables'} of "${input.database}" could not be copied.`,
      hint: 'The list of tables shows each with its reason.',
      retryable: false,
    })
  }
}

/** @returns true when the database has been cut over, false when it is time for a new generation */
function* follow(
  context: OrchestrationContext,
  { key, database, online }: MigrateDatabaseInput,
): Generator<Task, boolean, unknown> {
  context.df.setCustomStatus({ database, phase: online ? 'follow' : 'cutover' })
  for (let slice = 0; slice < SLICES_PER_GENERATION; slice++) {
    if (online) {
      const { next } = yield* call(context, 'replicateSlice', { key, database }, 'forever')
      if (next === 'busy') yield context.df.createTimer(after(context, BUSY_PAUSE))
      if (next !== 'cutover') continue
    }
    const { next } = yield* call(context, 'cutoverDatabase', { key, database }, online ? 'forever' : 'many')
    if (next === 'finished') return true
  }
  return false
}

/** The pauses between attempts stay short: the user may want to end it while the old server is away. */
function* followBackOnce(
  context: OrchestrationContext,
  input: { key: string; database: string },
): Generator<Task, Activities['followBack']['result']['next'], unknown> {
  try {
    return (yield* call(context, 'followBack', input, 'few')).next
  } catch (error) {
    if (!(error instanceof ActivityFailed) || isFinal(error)) throw error
    yield context.df.createTimer(after(context, BACK_PAUSE))
    return 'slice'
  }
}

function outcomeOf(error: unknown): DatabaseOutcome {
  if (!(error instanceof ActivityFailed)) throw error
  return error.failure.code === 'Canceled' ? { state: 'Canceled' } : { state: 'Failed', message: error.message }
}
