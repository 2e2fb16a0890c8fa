import type { OrchestrationContext, Task } from 'durable-functions'
import type { Activities, ActivityFailure, ActivityName, ActivityResult } from '../migration/model/activity.ts'

/** An activity failed for good: its failure says why. */
export class ActivityFailed extends Error {
  readonly failure: ActivityFailure

  constructor(failure: ActivityFailure) {
    super(failure.hint === undefined ? failure.message : `${failure.message} ${failure.hint}`)
    this.failure = failure
  }
}

/** Pauses before the next attempt, s: about 20 minutes in all, in which a server can restart or fail over. */
const PAUSES = [1, 2, 4, 8, 15, 30, 60, 120, 240, 300, 300]

/**
 * What no waiting mends. Everything else is mended by somebody in time (a password, a definition on the target, a
 * full disk), and giving up while following would cost a new copy.
 */
const FINAL = new Set([
  'Canceled',
  'ControlSchemaTaken',
  'MigrationMissing',
  'ProtocolViolation',
  'PublicationMissing',
  'SlotIdleTimeout',
  'SlotInvalidated',
  'SlotLost',
  'SlotNotFailedOver',
  'SlotRowsRemoved',
  'SlotWalLevel',
  'SlotWalRemoved',
  'SourceDiverged',
])

/** Whether no waiting mends it. */
export function isFinal({ failure }: ActivityFailed): boolean {
  return FINAL.has(failure.code)
}

/** Attempts that a failure which may go away is given; `forever` goes on at the longest pause. */
const ATTEMPTS = { few: 4, many: PAUSES.length + 1, forever: Infinity }

/** A task of an activity, for a fan-out. */
export function schedule<N extends ActivityName>(
  context: OrchestrationContext,
  name: N,
  input: Activities[N]['input'],
): Task {
  return context.df.callActivity(name, input)
}

/**
 * Calls an activity and waits for its result; failures that may go away are tried again after growing pauses.
 *
 * @param patience few: at the first contact, where the user waits for an answer; forever: where giving up would
 *   mean a new copy or something left behind
 * @throws {ActivityFailed} a failure that stays
 */
export function* call<N extends ActivityName>(
  context: OrchestrationContext,
  name: N,
  input: Activities[N]['input'],
  patience: keyof typeof ATTEMPTS = 'many',
): Generator<Task, { ok: true } & Activities[N]['result'], unknown> {
  for (let attempt = 1; ; attempt++) {
    const result = yield* callOnce(context, name, input)
    if (result.ok) return result
    const mayGoAway = result.retryable || (patience === 'forever' && !FINAL.has(result.code))
    if (!mayGoAway || attempt >= ATTEMPTS[patience]) throw new ActivityFailed(result)
    yield context.df.createTimer(after(context, PAUSES[attempt - 1] ?? PAUSES.at(-1)!))
  }
}

/** One attempt. An activity that throws (its process died too often, a bug) is a failure like the others. */
function* callOnce<N extends ActivityName>(
  context: OrchestrationContext,
  name: N,
  input: Activities[N]['input'],
): Generator<Task, ActivityResult<N>, unknown> {
  try {
    return (yield schedule(context, name, input)) as ActivityResult<N>
  } catch (error) {
    return { ok: false, code: 'ActivityThrew', message: firstLine(error), retryable: true }
  }
}

/** The host appends the remote stack to the message of a failed activity. */
function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!.trim()
}

/** A moment from now by the orchestration's own clock, which replays to the same value. */
export function after(context: OrchestrationContext, seconds: number): Date {
  const date = new Date(context.df.currentUtcDateTime)
  date.setTime(date.getTime() + seconds * 1000)
  return date
}

/** Waits for tasks one by one, however they end: none may stay open. */
export function* settle(tasks: Task[]): Generator<Task, void, unknown> {
  for (const task of tasks) {
    try {
      yield task
    } catch {
      // It has failed: that is an end.
    }
  }
}
