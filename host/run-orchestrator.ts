import { assertNoTaskTwice } from './assert-supported.ts'
import type { OrchestratorState } from './actions.ts'
import type { RegisteredFunction } from './core-module.ts'
import { EventType, type HistoryEvent } from './history.ts'
import { longestTimerDays } from './decide-step.ts'
import { errorMessage } from './sanitize.ts'
import type { Instance } from './store.ts'
import type { Invoke } from './worker.ts'

/** A failing orchestrator puts its state into the error's message, after this mark. */
const stateMark = '\n\n$OutOfProcData$:'

/**
 * Runs the orchestrator's code over the history: `past` was there in earlier steps, `episode` is new. Its own errors
 * come back as `state.error`; what it throws is an error around it (a history it cannot read, for one).
 */
export async function runOrchestrator(
  invoke: Invoke,
  orchestrator: RegisteredFunction,
  instance: Instance,
  past: HistoryEvent[],
  episode: HistoryEvent[],
): Promise<OrchestratorState> {
  const data = { string: JSON.stringify(triggerPayload(instance, past, episode)) }
  try {
    const { result, returnValue } = await invoke(orchestrator, {
      inputData: [{ name: orchestrator.trigger.name, data }],
    })
    assertNoTaskTwice((result as OrchestratorState).actions.flat())
    return JSON.parse(returnValue?.json ?? 'null') as OrchestratorState
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const at = message.indexOf(stateMark)
    if (at < 0) throw error
    const state = JSON.parse(message.slice(at + stateMark.length)) as OrchestratorState
    return { ...state, error: errorMessage(state.error ?? 'unknown error') }
  }
}

function triggerPayload(instance: Instance, past: HistoryEvent[], episode: HistoryEvent[]) {
  return {
    history: [
      ...past.map((event) => ({ ...event, IsPlayed: true })),
      ...episode.map((event) => ({ ...event, IsPlayed: false })),
    ],
    input: instance.input === null ? null : (JSON.parse(instance.input) as unknown),
    instanceId: instance.id,
    isReplaying: past.some((event) => event.EventType === EventType.ExecutionStarted),
    parentInstanceId: instance.parentId,
    // The newest schema that durable-functions 3.5 knows is 3 (zero-based: V4).
    upperSchemaVersion: 1,
    upperSchemaVersionNew: 3,
    // Azure Storage cuts long timers into pieces of days. We don't: below this limit a timer is one task.
    longRunningTimerIntervalDuration: `${longestTimerDays}.00:00:00`,
    maximumShortTimerDuration: `${longestTimerDays}.00:00:00`,
    defaultHttpAsyncRequestSleepTimeMillseconds: 30_000,
  }
}
