import type { OrchestrationContext, Task } from 'durable-functions'
import type {
  CutoverEvent,
  MigrateDatabaseInput,
  Readiness,
  ServerInput,
  ServerOutcome,
} from '../migration/model/activity.ts'
import { ActivityFailed, after, call, settle } from './activity.ts'

/** The user's go for the cutover; its data is a {@link CutoverEvent}. */
const CUTOVER_EVENT = 'Cutover'
/** A request of the user has changed: a wake-up only, the truth is stored. */
const CHANGED_EVENT = 'Changed'
/** Waits of one generation: each adds some rows to the history. */
const WAITS_PER_GENERATION = 50
/** s; between two looks at databases that are cutting over, at first and at last. */
const FIRST_LOOK = 2
const LAST_LOOK = 300

/** The whole migration: waits for its time, validates, copies server parameters, then migrates each database by itself. */
export function* migrateServer(context: OrchestrationContext): Generator<Task, ServerOutcome | undefined, unknown> {
  const { key } = context.df.getInput<ServerInput>()!
  let outcome: ServerOutcome | undefined
  try {
    const start = yield* waitUntilReady(context, key)
    if (start === 'again') {
      context.df.continueAsNew({ key } satisfies ServerInput)
      return undefined
    }
    outcome = start === 'canceled' ? { state: 'Canceled' } : yield* migrate(context, key, start)
  } catch (error) {
    if (!(error instanceof ActivityFailed)) throw error
    outcome = { state: error.failure.code === 'Canceled' ? 'Canceled' : 'Failed', message: error.message }
  }
  yield* call(context, 'endMigration', { key, ...(outcome === undefined ? {} : { outcome }) }, 'forever')
  return outcome
}

type Start = Extract<Readiness, { ready: true }>

/** Waits for the start of the window, the names of the databases, the confirmation to overwrite … */
function* waitUntilReady(
  context: OrchestrationContext,
  key: string,
): Generator<Task, Start | 'canceled' | 'again', unknown> {
  for (let wait = 0; wait < WAITS_PER_GENERATION; wait++) {
    const readiness = yield* call(context, 'readiness', { key }, 'few')
    if (readiness.ready) return readiness
    if (readiness.canceled) return 'canceled'
    const changed = context.df.waitForExternalEvent(CHANGED_EVENT)
    const timer = context.df.createTimer(after(context, readiness.waitMs / 1000))
    if ((yield context.df.Task.any([changed, timer])) === changed) timer.cancel()
  }
  return 'again'
}

/** @returns the outcome when it is known here; undefined when that of the databases decides */
function* migrate(
  context: OrchestrationContext,
  key: string,
  start: Start,
): Generator<Task, ServerOutcome | undefined, unknown> {
  if (start.validate) {
    const { proceed } = yield* call(context, 'validate', { key })
    if (!proceed) return { state: 'ValidationFailed' }
  }
  if (!start.migrate) return { state: 'Succeeded' }
  if (start.parameters) yield* call(context, 'copyServerParameters', { key })
  yield* migrateDatabases(context, key, start)
  return undefined
}

/**
 * Runs the databases side by side and stores the user's Cutover events. A task may be raced only once (the
 * host schedules every action of a Task.any anew), so after the first event the databases are looked at
 * from time to time instead.
 */
function* migrateDatabases(
  context: OrchestrationContext,
  key: string,
  { databases, online }: Start,
): Generator<Task, void, unknown> {
  const children = databases.map((database, n) =>
    context.df.callSubOrchestrator(
      'migrateDatabase',
      { key, database, online, stage: 'load' } satisfies MigrateDatabaseInput,
      `${context.df.instanceId}-db${n}`,
    ),
  )
  const all = context.df.Task.all(children)
  try {
    let command = context.df.waitForExternalEvent(CUTOVER_EVENT)
    if ((yield context.df.Task.any([command, all])) !== command) {
      yield all
      return
    }
    for (let pause = FIRST_LOOK; ; pause = Math.min(pause * 2, LAST_LOOK)) {
      if (command.isCompleted) {
        yield* call(context, 'storeCutover', {
          key,
          databases: (command.result as CutoverEvent | undefined)?.databases ?? null,
        })
        pause = FIRST_LOOK
      }
      if ((yield* call(context, 'databasesEnded', { key })).ended) {
        yield all
        return
      }
      command = context.df.waitForExternalEvent(CUTOVER_EVENT)
      const timer = context.df.createTimer(after(context, pause))
      if ((yield context.df.Task.any([command, timer])) === command) timer.cancel()
    }
  } catch (error) {
    if (error instanceof ActivityFailed) throw error
    // One orchestration failed, as none should. The others still need the secrets: they are waited for, and
    // endMigration ends the status of that one.
    yield* settle(children)
  }
}
