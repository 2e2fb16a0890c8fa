/**
 * The history of an orchestration: the events of the Durable Task Framework, in the JSON form that
 * `durable-functions` reads (PascalCase members, numeric EventType).
 */

export const EventType = {
  ExecutionStarted: 0,
  ExecutionCompleted: 1,
  ExecutionTerminated: 3,
  TaskScheduled: 4,
  TaskCompleted: 5,
  TaskFailed: 6,
  SubOrchestrationInstanceCreated: 7,
  SubOrchestrationInstanceCompleted: 8,
  SubOrchestrationInstanceFailed: 9,
  TimerCreated: 10,
  TimerFired: 11,
  OrchestratorStarted: 12,
  OrchestratorCompleted: 13,
  EventRaised: 15,
  ExecutionSuspended: 19,
  ExecutionResumed: 20,
} as const
type Types = typeof EventType

/** Members that end in `Input` or `Result` hold JSON text, or null; never the value itself. */
type JsonText = string | null

export interface FailureDetails {
  ErrorType: string
  ErrorMessage: string
  StackTrace?: string
  IsNonRetriable: boolean
  Properties?: Record<string, unknown>
  InnerFailure?: FailureDetails
}

interface Common {
  /** The task's id in events that start a task, -1 in all others. */
  EventId: number
  /** When the event was stored, ISO 8601. */
  Timestamp: string
}

export interface ExecutionStarted extends Common {
  EventType: Types['ExecutionStarted']
  Name: string
  Version: string | null
  Input: JsonText
  ParentInstance: { OrchestrationInstance: { InstanceId: string }; TaskScheduleId: number } | null
  OrchestrationInstance: { InstanceId: string; ExecutionId: string }
}

/** An activity was started; its Input is an array of one: the argument. */
export interface TaskScheduled extends Common {
  EventType: Types['TaskScheduled']
  Name: string
  Version: null
  Input: JsonText
}

export interface SubOrchestrationInstanceCreated extends Common {
  EventType: Types['SubOrchestrationInstanceCreated']
  Name: string
  Version: string | null
  InstanceId: string
  Input: JsonText
}

export interface TimerCreated extends Common {
  EventType: Types['TimerCreated']
  FireAt: string
}

/** `Result` must be there: `JSON.parse(undefined)` throws inside the orchestrator. */
export interface TaskResult extends Common {
  EventType: Types['TaskCompleted'] | Types['SubOrchestrationInstanceCompleted']
  TaskScheduledId: number
  Result: JsonText
}

/** The orchestrator sees FailureDetails if there are any, else an Error made of both Reason and Details. */
export interface TaskFailure extends Common {
  EventType: Types['TaskFailed'] | Types['SubOrchestrationInstanceFailed']
  TaskScheduledId: number
  Reason: string
  Details: string
  FailureDetails?: FailureDetails
}

export interface TimerFired extends Common {
  EventType: Types['TimerFired']
  TimerId: number
  FireAt: string
}

export interface EventRaised extends Common {
  EventType: Types['EventRaised']
  Name: string
  Input: JsonText
}

export interface ExecutionTerminated extends Common {
  EventType: Types['ExecutionTerminated']
  /** The reason. */
  Input: JsonText
}

export interface ExecutionPaused extends Common {
  EventType: Types['ExecutionSuspended'] | Types['ExecutionResumed']
  Reason: string | null
}

export interface EpisodeMark extends Common {
  EventType: Types['OrchestratorStarted'] | Types['OrchestratorCompleted']
}

export interface ExecutionCompleted extends Common {
  EventType: Types['ExecutionCompleted']
  OrchestrationStatus: string
  Result: JsonText
}

/** What an orchestration is told from outside: these wait in its inbox until a step takes them into the history. */
export type Message =
  | ExecutionStarted
  | TaskResult
  | TaskFailure
  | TimerFired
  | EventRaised
  | ExecutionTerminated
  | ExecutionPaused

/** The start of a task: what a step adds to the history for each new action. */
export type TaskStart = TaskScheduled | SubOrchestrationInstanceCreated | TimerCreated

export type HistoryEvent = Message | TaskStart | EpisodeMark | ExecutionCompleted

export const eventName = (type: number): string =>
  Object.entries(EventType).find(([, number]) => number === type)?.[0] ?? `event type ${type}`

const taskStarts: number[] = [
  EventType.TaskScheduled,
  EventType.SubOrchestrationInstanceCreated,
  EventType.TimerCreated,
]

export const isTaskStart = (event: HistoryEvent): event is TaskStart => taskStarts.includes(event.EventType)

/** The end of an activity or sub-orchestration. */
export const isTaskEnd = (event: HistoryEvent): event is TaskResult | TaskFailure => 'TaskScheduledId' in event

/** What a message and every other event that is no task start carries besides its own members. */
export const stamp = (now: Date) => ({ EventId: -1, Timestamp: now.toISOString() })
