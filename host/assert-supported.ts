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
