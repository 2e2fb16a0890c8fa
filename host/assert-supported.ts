import { ActionType, actionName, type Action, type SupportedAction } from './actions.ts'

/** The orchestrator asks for something that the local host cannot carry out, or that no host can. */
export class UnsupportedActionError extends Error {}

const alternatives: Record<string, string> = {
  CallEntity: 'Keep the state in a database and change it from an activity.',
  SignalEntity: 'Keep the state in a database and change it from an activity.',
  CallHttp: 'Make the request from an activity.',
  LockEntities: 'Take the lock in a database, from an activity.',
}

const supported: number[] = [
  ActionType.CallActivity,
  ActionType.CallActivityWithRetry,
  ActionType.CallSubOrchestrator,
  ActionType.CallSubOrchestratorWithRetry,
  ActionType.ContinueAsNew,
  ActionType.CreateTimer,
  ActionType.WaitForExternalEvent,
  ActionType.WhenAll,
  ActionType.WhenAny,
]

/** Throws when the action is one that this host does not carry out; only the real Durable extension does. */
export function assertSupported(action: Action): asserts action is SupportedAction {
  if (!supported.includes(action.actionType)) {
    const name = actionName(action.actionType)
    const alternative = alternatives[name] ?? ''
    throw new UnsupportedActionError(`The local host does not support the action ${name}. ${alternative}`.trim())
  }
  if ('retryOptions' in action && action.retryOptions?.retryTimeoutInMilliseconds !== undefined)
    throw new UnsupportedActionError(
      `The local host does not support the retry option retryTimeoutInMilliseconds ("${action.functionName}"): ` +
        'an orchestration that exceeds it waits for ever on the real host. Limit the number of attempts instead.',
    )
}

/** Whether the orchestrator's code counts on when it comes to this action. */
const takesNumber = (action: Action): boolean => {
  if ('compoundActions' in action) return action.compoundActions.some(takesNumber)
  return action.actionType !== ActionType.WaitForExternalEvent && action.actionType !== ActionType.ContinueAsNew
}

/**
 * Throws when a retry goes on inside a Task.all that has failed already, while the orchestrator's code has caught that
 * failure and gone on to `next`. The code has given `next` the number that the host now gives to the retry: on the real
 * host the results reach the wrong tasks from there on.
 */
export function assertNumbersAgree(next: Action | undefined): void {
  if (next && takesNumber(next))
    throw new UnsupportedActionError(
      'The orchestrator went on after a Task.all had failed, while a retry in it was still going on. ' +
        'durable-functions and its hosts count tasks differently from there on. Catch the failures of the tasks ' +
        'inside Task.all, for instance in the activities, or let the failure end the orchestration.',
    )
}

/**
 * Throws when a task that has been yielded inside one Task.all or Task.any is put into another one.
 *
 * `durable-functions` 3.5 lists the action of such a task a second time, and the Durable extension then starts the
 * activity a second time under a number of its own: from there on, results reach the wrong tasks. The list is plain
 * data once it has been sent, so this looks at it before, when a repeated action is still the same object. Waiting
 * again for an external event is harmless, because events have names and no numbers.
 */
export function assertNoTaskTwice(actions: Action[]): void {
  const seen = new Set<Action>()
  const visit = (action: Action): void => {
    if ('compoundActions' in action) action.compoundActions.forEach(visit)
    else if (action.actionType !== ActionType.WaitForExternalEvent) {
      if (seen.has(action)) {
        const name = 'functionName' in action ? ` of "${action.functionName}"` : ''
        throw new UnsupportedActionError(
          `A task (${actionName(action.actionType)}${name}) that an earlier Task.all or Task.any has started is ` +
            'used in another one. durable-functions 3.5 would start it a second time. Yield the task itself, or ' +
            'the same Task.all again, or make a new task.',
        )
      }
      seen.add(action)
    }
  }
  actions.forEach(visit)
}
