/**
 * Decides what an orchestration's actions mean, given its history: which tasks have to be started, which are open,
 * and whether the generation may end.
 *
 * The orchestrator only ever says *what* it has asked for since the generation began. The Durable extension finds out
 * what is new by running the same list against the history, and so does this function: it starts the first action,
 * goes on to the next when that one has ended, and numbers the tasks in the order of their start. The orchestrator's
 * own code counts in the same order, which is how a completion finds the task that waits for it.
 *
 * Pure: no clock, no randomness, no I/O.
 */
import { endNode, isLeftBehind, openNode, waitForChildren, type ActionNode } from './action-tree.ts'
import { ActionType, type Action, type RetryOptions } from './actions.ts'
import { assertNumbersAgree, assertSupported } from './assert-supported.ts'
import {
  EventType,
  eventName,
  isTaskEnd,
  isTaskStart,
  type EventRaised,
  type HistoryEvent,
  type TaskFailure,
  type TaskResult,
  type TaskStart,
} from './history.ts'
import { retryDelayMs } from './retry-delay.ts'

type StartedKind = 'activity' | 'subOrchestration' | 'timer'

/** A task that has a number. */
export interface StartedTask {
  id: number
  kind: StartedKind
  /** The function's name; empty for a timer. */
  name: string
  input: unknown
  instanceId?: string
  version?: string
  fireAt?: string
  canceled: boolean
}

interface Tracked extends StartedTask {
  node: ActionNode
  /** The history holds its start. */
  recorded: boolean
  ended: boolean
  attempt: number
  retry?: { options: RetryOptions; task: Tracked }
}

export interface Simulation {
  /** Tasks that the history does not know yet, by number. */
  toStart: StartedTask[]
  /** Timers that nobody waits for any more. */
  canceledTimers: number[]
  /** Every action has ended and no activity, sub-orchestration or timer is open: the generation may end. */
  settled: boolean
  /** Set once the orchestrator's `continueAsNew` is reached; holds the events that came after it. */
  continueAsNew?: { input: unknown; carriedEvents: EventRaised[] }
}

const startKinds: Record<TaskStart['EventType'], StartedKind> = {
  [EventType.TaskScheduled]: 'activity',
  [EventType.SubOrchestrationInstanceCreated]: 'subOrchestration',
  [EventType.TimerCreated]: 'timer',
}

/** The code no longer does what the history says it did. */
export class NonDeterminismError extends Error {}

export function simulateActions(history: HistoryEvent[], actions: Action[]): Simulation {
  const tasks = new Map<number, Tracked>()
  const waiters = new Map<string, ActionNode[]>()
  const buffered = new Map<string, number>()
  let continueAsNew: Simulation['continueAsNew']
  let position = 0
  let awaited: ActionNode | undefined
  let now = ''

  /** Starts the next action as long as the last one has ended. */
  function advance(): void {
    while (awaited === undefined || awaited.state !== 'open') {
      const action = actions[position]
      if (!action) return
      position++
      awaited = start(action)
    }
  }

  function start(action: Action, parent?: ActionNode): ActionNode {
    assertSupported(action)
    const node = openNode(parent)
    switch (action.actionType) {
      case ActionType.CallActivity:
      case ActionType.CallActivityWithRetry:
        track({ kind: 'activity', name: action.functionName, input: action.input }, node, action.retryOptions)
        break
      case ActionType.CallSubOrchestrator:
      case ActionType.CallSubOrchestratorWithRetry: {
        const { functionName: name, input, instanceId, version } = action
        track({ kind: 'subOrchestration', name, input, instanceId, version }, node, action.retryOptions)
        break
      }
      case ActionType.CreateTimer:
        track({ kind: 'timer', name: '', input: undefined, fireAt: action.fireAt, canceled: action.isCanceled }, node)
        if (action.isCanceled) node.state = 'canceled'
        break
      case ActionType.WaitForExternalEvent:
        awaitEvent(action.externalEventName, node)
        break
      case ActionType.ContinueAsNew:
        continueAsNew = { input: action.input, carriedEvents: [] }
        node.state = 'done'
        break
      case ActionType.WhenAll:
      case ActionType.WhenAny:
        // `all` ends with the last of its children, also after one has failed: the orchestrator's code may be further
        // already, but the extension starts nothing of that before the siblings have ended.
        waitForChildren(
          node,
          action.actionType === ActionType.WhenAll ? 'all' : 'any',
          action.compoundActions.map((child) => start(child, node)),
        )
        break
    }
    return node
  }

  function track(
    task: Omit<StartedTask, 'id' | 'canceled'> & { canceled?: boolean },
    node: ActionNode,
    retry?: RetryOptions,
  ): Tracked {
    const tracked: Tracked = {
      canceled: false,
      ...task,
      id: tasks.size,
      node,
      recorded: false,
      ended: false,
      attempt: 1,
    }
    if (retry) tracked.retry = { options: retry, task: tracked }
    tasks.set(tracked.id, tracked)
    return tracked
  }

  /** Events that nobody waited for are kept and handed out first in, first out. */
  function awaitEvent(name: string, node: ActionNode): void {
    const waiting = buffered.get(name) ?? 0
    if (waiting > 0) {
      buffered.set(name, waiting - 1)
      node.state = 'done'
    } else waiters.set(name, [...(waiters.get(name) ?? []), node])
  }

  /** Of several waiters for one name, the last one gets the event. */
  function raise(event: EventRaised): void {
    if (continueAsNew) return void continueAsNew.carriedEvents.push(event)
    const waiter = waiters.get(event.Name)?.pop()
    if (waiter) endNode(waiter)
    else buffered.set(event.Name, (buffered.get(event.Name) ?? 0) + 1)
  }

  function complete(id: number, kind: StartedKind, failed: boolean): void {
    const task = tasks.get(id)
    if (!task || task.ended || task.kind !== kind) return
    task.ended = true
    const retry = task.retry
    if (retry && (failed || kind === 'timer')) waitOrTryAgain(task, retry)
    else endNode(task.node, { failed })
  }

  /** After each failed attempt comes a timer, after the last one too: the orchestrator's code counts it. */
  function waitOrTryAgain(task: Tracked, { options, task: first }: NonNullable<Tracked['retry']>): void {
    if (awaited && isLeftBehind(awaited)) assertNumbersAgree(actions[position])
    const lastAttempt = task.attempt >= options.maxNumberOfAttempts
    let next: Tracked
    if (task.kind === 'timer') {
      if (lastAttempt) return endNode(task.node, { failed: true })
      next = track({ ...first, canceled: false }, task.node)
      next.attempt = task.attempt + 1
    } else {
      const delayMs = lastAttempt ? 0 : retryDelayMs(options, task.attempt)
      const fireAt = new Date(Date.parse(now) + delayMs).toISOString()
      next = track({ kind: 'timer', name: '', input: undefined, fireAt }, task.node)
      next.attempt = task.attempt
    }
    next.retry = { options, task: first }
  }

  function completeTask({ EventType: type, TaskScheduledId: id }: TaskResult | TaskFailure): void {
    const activity = type === EventType.TaskCompleted || type === EventType.TaskFailed
    const failed = type === EventType.TaskFailed || type === EventType.SubOrchestrationInstanceFailed
    complete(id, activity ? 'activity' : 'subOrchestration', failed)
  }

  function recordStart(event: TaskStart): void {
    const task = tasks.get(event.EventId)
    const kind = startKinds[event.EventType]
    const name = 'Name' in event ? event.Name : ''
    if (!task || task.kind !== kind || task.name.toLowerCase() !== name.toLowerCase())
      throw new NonDeterminismError(nonDeterminismMessage(event, name, task))
    task.recorded = true
  }

  for (const event of history) {
    if (event.EventType === EventType.OrchestratorStarted) {
      now = event.Timestamp
      continue
    }
    if (isTaskStart(event)) recordStart(event)
    else if (isTaskEnd(event)) completeTask(event)
    else if (event.EventType === EventType.TimerFired) complete(event.TimerId, 'timer', false)
    else if (event.EventType === EventType.EventRaised) raise(event)
    advance()
  }

  const all = [...tasks.values()]
  return {
    toStart: all.filter((task) => !task.recorded),
    canceledTimers: all.filter((task) => task.canceled && !task.ended).map((task) => task.id),
    settled:
      position === actions.length && awaited?.state !== 'open' && all.every((task) => task.ended || task.canceled),
    continueAsNew,
  }
}

function nonDeterminismMessage(event: TaskStart, name: string, task: StartedTask | undefined): string {
  const recorded = `${eventName(event.EventType)} ${event.EventId}${name && ` of "${name}"`}`
  const asked = task ? `${task.kind}${task.name && ` "${task.name}"`}` : 'nothing'
  return (
    `The orchestrator is not deterministic: its history holds ${recorded}, but this replay asks for ${asked} at ` +
    `that place. Did its code change while the instance was running, or does it use a clock, randomness or I/O?`
  )
}
