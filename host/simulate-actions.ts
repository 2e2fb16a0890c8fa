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
import { endNode, openNode, waitForChildren, type ActionNode } from './action-tree.ts'
import { ActionType, type Action, type RetryOptions } from './actions.ts'
import { assertSupported, UnsupportedActionError } from './assert-supported.ts'
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
  /** The action that asked for it. */
  origin: Action
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
  const { tasks, ended, continueAsNew } = replay(history, actions, 'host')
  if (tasks.some(({ node, retry }) => retry && node.parent))
    assertSameNumbers(tasks, replay(history, actions, 'code').tasks)
  return {
    toStart: tasks.filter((task) => !task.recorded),
    canceledTimers: tasks.filter((task) => task.canceled && !task.ended).map((task) => task.id),
    settled: ended && tasks.every((task) => task.ended || task.canceled),
    continueAsNew,
  }
}

/**
 * A Task.all that fails lets the orchestrator's code go on at once, while the host goes on when the siblings have ended.
 * If a sibling is tried again in between, both give the next number, but to different tasks; on the real host the
 * results reach the wrong tasks from there on.
 */
function assertSameNumbers(host: Tracked[], code: Tracked[]): void {
  const agree = host.every(({ origin, kind, attempt }, id) => {
    const other = code[id]
    return other?.origin === origin && other.kind === kind && other.attempt === attempt
  })
  if (!agree)
    throw new UnsupportedActionError(
      'The orchestrator went on after a Task.all had failed, while a retry in it was still going on. ' +
        'durable-functions and its hosts count tasks differently from there on. Catch the failures of the tasks ' +
        'inside Task.all, for instance in the activities, or let the failure end the orchestration.',
    )
}

/** Plays the actions against the history as the host does, or as the orchestrator's code does. */
function replay(history: HistoryEvent[], actions: Action[], as: 'host' | 'code') {
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
    const node = openNode(parent, as === 'code')
    switch (action.actionType) {
      case ActionType.CallActivity:
      case ActionType.CallActivityWithRetry:
        track(action, { kind: 'activity', name: action.functionName, input: action.input }, node, action.retryOptions)
        break
      case ActionType.CallSubOrchestrator:
      case ActionType.CallSubOrchestratorWithRetry: {
        const { functionName: name, input, instanceId, version } = action
        track(action, { kind: 'subOrchestration', name, input, instanceId, version }, node, action.retryOptions)
        break
      }
      case ActionType.CreateTimer:
        track(action, timerAt(action.fireAt, action.isCanceled), node)
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
    origin: Action,
    task: Omit<StartedTask, 'id' | 'canceled'> & { canceled?: boolean },
    node: ActionNode,
    retry?: RetryOptions,
  ): Tracked {
    const tracked: Tracked = {
      canceled: false,
      ...task,
      origin,
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
    const lastAttempt = task.attempt >= options.maxNumberOfAttempts
    let next: Tracked
    if (task.kind === 'timer') {
      if (lastAttempt) return endNode(task.node, { failed: true })
      next = track(first.origin, first, task.node)
      next.attempt = task.attempt + 1
    } else {
      const delayMs = lastAttempt ? 0 : retryDelayMs(options, task.attempt)
      const fireAt = new Date(Date.parse(now) + delayMs).toISOString()
      next = track(first.origin, timerAt(fireAt), task.node)
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
    if (as === 'code') return
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

  const ended = position === actions.length && awaited?.state !== 'open'
  return { tasks: [...tasks.values()], ended, continueAsNew }
}

const timerAt = (fireAt: string, canceled = false) =>
  ({ kind: 'timer', name: '', input: undefined, fireAt, canceled }) as const

function nonDeterminismMessage(event: TaskStart, name: string, task: StartedTask | undefined): string {
  const recorded = `${eventName(event.EventType)} ${event.EventId}${name && ` of "${name}"`}`
  const asked = task ? `${task.kind}${task.name && ` "${task.name}"`}` : 'nothing'
  return (
    `The orchestrator is not deterministic: its history holds ${recorded}, but this replay asks for ${asked} at ` +
    `that place. Did its code change while the instance was running, or does it use a clock, randomness or I/O?`
  )
}
