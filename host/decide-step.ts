import type { OrchestratorState } from './actions.ts'
import { UnsupportedActionError } from './assert-supported.ts'
import { EventType, type EventRaised, type HistoryEvent, type TaskStart } from './history.ts'
import { NonDeterminismError, simulateActions, type StartedTask } from './simulate-actions.ts'
import type { Instance } from './store.ts'

/** The Durable extension keeps a custom status within 16 KB of UTF-16 and fails the instance beyond that. */
const customStatusLimit = 8_192

/** A hundred years. */
export const longestTimerDays = 36_500

export type StepDecision =
  | { kind: 'wait'; starts: TaskStart[]; canceledTimers: number[]; customStatus: string | null }
  | { kind: 'end'; status: 'Completed' | 'Failed'; output: string; customStatus: string | null }
  | { kind: 'continueAsNew'; input: string; carriedEvents: EventRaised[]; customStatus: string | null }

export interface StepFacts {
  instance: Instance
  /** Up to and including what is new in this step. */
  history: HistoryEvent[]
  state: OrchestratorState
  now: Date
  isKnown: (kind: 'activity' | 'subOrchestration', name: string) => boolean
}

/** Turns what the orchestrator's code came to into what this step does. Pure. */
export function decideStep(facts: StepFacts): StepDecision {
  try {
    return decide(facts)
  } catch (error) {
    if (error instanceof NonDeterminismError || error instanceof UnsupportedActionError)
      return failed(facts.instance, error.message)
    throw error
  }
}

export const failed = (
  { name, customStatus }: Pick<Instance, 'name' | 'customStatus'>,
  reason: string,
): StepDecision => ({
  kind: 'end',
  status: 'Failed',
  output: JSON.stringify(`Orchestrator function '${name}' failed: ${reason}`),
  customStatus,
})

function decide({ instance, history, state, now, isKnown }: StepFacts): StepDecision {
  const { toStart, canceledTimers, settled, continueAsNew } = simulateActions(history, state.actions.flat())
  // A status stays until another one is set; durable-functions leaves out the ones that are falsy.
  const customStatus = state.customStatus === undefined ? instance.customStatus : JSON.stringify(state.customStatus)
  if (customStatus !== null && customStatus.length > customStatusLimit)
    return failed(instance, `the custom status is larger than ${customStatusLimit} characters.`)

  if (settled) {
    if (state.error !== undefined) return { ...failed(instance, state.error), customStatus }
    if (continueAsNew) {
      const { input = null, carriedEvents } = continueAsNew
      return { kind: 'continueAsNew', input: JSON.stringify(input), carriedEvents, customStatus }
    }
    if (state.isDone)
      return { kind: 'end', status: 'Completed', output: JSON.stringify(state.output ?? null), customStatus }
  }
  const starts = toStart.map((task) => startEvent(task, instance, now, isKnown))
  return { kind: 'wait', starts, canceledTimers, customStatus }
}

/** The history's record of a task's start. */
function startEvent(task: StartedTask, instance: Instance, now: Date, isKnown: StepFacts['isKnown']): TaskStart {
  const common = { EventId: task.id, Timestamp: now.toISOString() }
  const { name, input = null } = task
  switch (task.kind) {
    case 'timer':
      return { EventType: EventType.TimerCreated, ...common, FireAt: timerTime(task.fireAt, now) }
    case 'activity':
      if (!isKnown('activity', name)) throw unknownFunction(name, 'an activity')
      return {
        EventType: EventType.TaskScheduled,
        ...common,
        Name: name,
        Version: null,
        Input: JSON.stringify([input]),
      }
    case 'subOrchestration': {
      if (!isKnown('subOrchestration', name)) throw unknownFunction(name, 'an orchestrator')
      const InstanceId = task.instanceId || `${instance.executionId}:${task.id}`
      const problem = instanceIdProblem(InstanceId)
      if (problem) throw new UnsupportedActionError(`The sub-orchestration "${name}": ${problem}`)
      if (InstanceId === instance.id || InstanceId === instance.parentId)
        throw new UnsupportedActionError(
          `The sub-orchestration "${name}" has the id of its own parent, "${InstanceId}".`,
        )
      return {
        EventType: EventType.SubOrchestrationInstanceCreated,
        ...common,
        Name: name,
        Version: task.version ?? instance.version,
        InstanceId,
        Input: JSON.stringify(input),
      }
    }
  }
}

function timerTime(fireAt: string | undefined, now: Date): string {
  const days = (Date.parse(fireAt ?? '') - now.getTime()) / 86_400_000
  if (fireAt === undefined || !(days < longestTimerDays))
    throw new UnsupportedActionError(`A timer is to fire at ${fireAt ?? 'no valid time'}, which this host cannot do.`)
  return fireAt
}

const unknownFunction = (name: string, kind: string) =>
  new UnsupportedActionError(`The function '${name}' doesn't exist, is disabled, or is not ${kind} function.`)

/** What is wrong with an instance id, or undefined. The rules are those of the Durable extension. */
export function instanceIdProblem(id: string): string | undefined {
  if (id.length === 0 || id.length > 256) return 'An instance id has 1 to 256 characters.'
  if (id.startsWith('@')) return `The instance id "${id}" starts with "@", which is reserved for entities.`
  // eslint-disable-next-line no-control-regex
  if (/[/\\#?\u0000-\u001f\u007f-\u009f]/.test(id))
    return `The instance id "${id}" contains one of / \\ # ? or a control character.`
  return undefined
}
