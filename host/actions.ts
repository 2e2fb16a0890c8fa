/**
 * What an orchestrator asks for, in the JSON form that `durable-functions` 3.5 answers with: the list of all actions
 * of this generation so far, one for each task that was yielded, from the first step on.
 */

export const ActionType = {
  CallActivity: 0,
  CallActivityWithRetry: 1,
  CallSubOrchestrator: 2,
  CallSubOrchestratorWithRetry: 3,
  ContinueAsNew: 4,
  CreateTimer: 5,
  WaitForExternalEvent: 6,
  CallEntity: 7,
  CallHttp: 8,
  SignalEntity: 9,
  ScheduledSignalEntity: 10,
  WhenAny: 11,
  WhenAll: 12,
  LockEntities: 13,
  ReleaseEntities: 14,
} as const
type Types = typeof ActionType

export interface RetryOptions {
  firstRetryIntervalInMilliseconds: number
  maxNumberOfAttempts: number
  backoffCoefficient?: number
  maxRetryIntervalInMilliseconds?: number
  retryTimeoutInMilliseconds?: number
}

export interface CallActivity {
  actionType: Types['CallActivity'] | Types['CallActivityWithRetry']
  functionName: string
  input?: unknown
  retryOptions?: RetryOptions
}

export interface CallSubOrchestrator {
  actionType: Types['CallSubOrchestrator'] | Types['CallSubOrchestratorWithRetry']
  functionName: string
  instanceId?: string
  version?: string
  input?: unknown
  retryOptions?: RetryOptions
}

export interface ContinueAsNew {
  actionType: Types['ContinueAsNew']
  input?: unknown
}

export interface CreateTimer {
  actionType: Types['CreateTimer']
  fireAt: string
  isCanceled: boolean
}

export interface WaitForExternalEvent {
  actionType: Types['WaitForExternalEvent']
  externalEventName: string
}

export interface Compound {
  actionType: Types['WhenAny'] | Types['WhenAll']
  compoundActions: Action[]
}

/** Actions that only the real host carries out; here they end the instance with a message. */
export interface Unsupported {
  actionType:
    | Types['CallEntity']
    | Types['CallHttp']
    | Types['SignalEntity']
    | Types['ScheduledSignalEntity']
    | Types['LockEntities']
    | Types['ReleaseEntities']
}

export type SupportedAction =
  | CallActivity
  | CallSubOrchestrator
  | ContinueAsNew
  | CreateTimer
  | WaitForExternalEvent
  | Compound

export type Action = SupportedAction | Unsupported

/** What one run of the orchestrator's code comes to. */
export interface OrchestratorState {
  isDone: boolean
  /** One inner list; older schemas have more. */
  actions: Action[][]
  output?: unknown
  error?: string
  customStatus?: unknown
}

export const actionName = (type: number): string =>
  Object.entries(ActionType).find(([, number]) => number === type)?.[0] ?? `action type ${type}`
