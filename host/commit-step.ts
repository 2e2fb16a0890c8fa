import { randomUUID } from 'node:crypto'
import type { StepDecision } from './decide-step.ts'
import { EventType, stamp, type HistoryEvent, type TaskStart } from './history.ts'
import { startInstance } from './start-instance.ts'
import { isTerminal, type Instance, type RuntimeStatus, type Store } from './store.ts'

/** What a step changes, before it is written. */
export interface Step {
  instance: Instance
  /** Number of events that are stored already. */
  past: number
  /** From OrchestratorStarted on; without OrchestratorCompleted. */
  episode: HistoryEvent[]
  consumed: number[]
  suspended: boolean
  decision: StepDecision | { kind: 'end'; status: 'Terminated'; output: string; customStatus: string | null }
}

/** Whom the engine has to tell once the step is written. */
export interface Effects {
  /** Instances that have new messages. */
  wake: string[]
  activities: boolean
  timers: boolean
  ended: boolean
}

/** Writes one step: all of it or nothing. */
export function commitStep(store: Store, step: Step, now: Date): Effects {
  const effects: Effects = { wake: [], activities: false, timers: false, ended: false }
  store.transaction(() => {
    step.consumed.forEach(store.deleteMessage)
    const { decision } = step
    if (decision.kind === 'wait') commitWait(store, step, decision.starts, decision.canceledTimers, now, effects)
    else if (decision.kind === 'continueAsNew') commitContinueAsNew(store, step, decision, now, effects)
    else commitEnd(store, step, decision, now, effects)
  })
  return effects
}

function commitWait(
  store: Store,
  { instance, past, episode, suspended, decision }: Step,
  starts: TaskStart[],
  canceledTimers: number[],
  now: Date,
  effects: Effects,
): void {
  const completed = { ...stamp(now), EventType: EventType.OrchestratorCompleted }
  store.appendHistory(instance.id, past, [...episode, ...starts, completed])
  const canceled = new Set(canceledTimers)
  canceledTimers.forEach((taskId) => store.deleteTimer(instance.id, instance.executionId, taskId))
  for (const event of starts) startTask(store, instance, event, canceled, now, effects)
  const status: RuntimeStatus = suspended ? 'Suspended' : 'Running'
  store.putInstance({ ...instance, status, customStatus: decision.customStatus, updatedAt: now.toISOString() })
}

function startTask(
  store: Store,
  instance: Instance,
  event: TaskStart,
  canceled: Set<number>,
  now: Date,
  effects: Effects,
): void {
  const { id, executionId } = instance
  switch (event.EventType) {
    case EventType.TaskScheduled:
      store.enqueueActivity(id, executionId, event.EventId, event.Name, event.Input)
      effects.activities = true
      break
    case EventType.TimerCreated:
      if (canceled.has(event.EventId)) break
      store.addTimer({ instanceId: id, executionId, taskId: event.EventId, fireAt: event.FireAt })
      effects.timers = true
      break
    case EventType.SubOrchestrationInstanceCreated: {
      const { InstanceId, Name: name, Version: version, Input: input, EventId: taskId } = event
      const started = startInstance(
        store,
        { id: InstanceId, name, version, input, parent: { id, executionId, taskId } },
        now,
      )
      effects.wake.push(started ? InstanceId : id)
      if (started) break
      store.send(
        id,
        {
          ...stamp(now),
          EventType: EventType.SubOrchestrationInstanceFailed,
          TaskScheduledId: taskId,
          Reason: `An orchestration instance with id '${InstanceId}' is running already.`,
          Details: '',
        },
        executionId,
      )
    }
  }
}

/** A new generation: the history begins anew, with the carried events after its start. */
function commitContinueAsNew(
  store: Store,
  { instance, suspended }: Step,
  { input, carriedEvents, customStatus }: Extract<StepDecision, { kind: 'continueAsNew' }>,
  now: Date,
  effects: Effects,
): void {
  const executionId = randomUUID().replaceAll('-', '')
  store.deleteHistory(instance.id)
  store.deleteTimers(instance.id)
  const status: RuntimeStatus = suspended ? 'Suspended' : 'Running'
  store.putInstance({ ...instance, executionId, input, status, customStatus, updatedAt: now.toISOString() })
  const { id, name, version, parentId, parentTaskId } = instance
  store.sendFirst(id, {
    ...stamp(now),
    EventType: EventType.ExecutionStarted,
    Name: name,
    Version: version,
    Input: input,
    ParentInstance:
      parentId === null || parentTaskId === null
        ? null
        : { OrchestrationInstance: { InstanceId: parentId }, TaskScheduleId: parentTaskId },
    OrchestrationInstance: { InstanceId: id, ExecutionId: executionId },
  })
  carriedEvents.forEach((event) => store.sendFirst(id, event))
  effects.wake.push(id)
}

/** The instance is over: what waits for it is told, what it still had waiting is dropped. */
function commitEnd(
  store: Store,
  { instance, past, episode }: Step,
  { status, output, customStatus }: Extract<Step['decision'], { kind: 'end' }>,
  now: Date,
  effects: Effects,
): void {
  const common = stamp(now)
  const { id, parentId, parentExecutionId, parentTaskId } = instance
  const end: HistoryEvent[] = [
    { ...common, EventType: EventType.ExecutionCompleted, OrchestrationStatus: status, Result: output },
    { ...common, EventType: EventType.OrchestratorCompleted },
  ]
  store.appendHistory(id, past, [...episode, ...end])
  store.putInstance({ ...instance, status, output, customStatus, updatedAt: now.toISOString() })
  store.deleteInbox(id)
  store.deleteTimers(id)
  store.deleteWaitingActivities(id)
  effects.ended = true

  const parent = parentId === null ? undefined : store.instance(parentId)
  if (!parent || isTerminal(parent.status) || parentTaskId === null) return
  const result = { ...common, TaskScheduledId: parentTaskId }
  store.send(
    parent.id,
    status === 'Completed'
      ? { ...result, EventType: EventType.SubOrchestrationInstanceCompleted, Result: output }
      : {
          ...result,
          EventType: EventType.SubOrchestrationInstanceFailed,
          Reason: JSON.parse(output) as string,
          Details: '',
        },
    parentExecutionId,
  )
  effects.wake.push(parent.id)
}
