import type { RpcTypedData } from './core-types.ts'
import { EventType, stamp, type FailureDetails, type TaskFailure, type TaskResult } from './history.ts'
import { errorMessage, sanitize } from './sanitize.ts'

/**
 * The argument of an activity, from the history's array of one. It travels as text, as from the real host, and the
 * worker tries to read that as JSON; so a boolean arrives as the text `True` or `False`. Pass objects.
 */
export function activityArgument(input: string | null): RpcTypedData {
  const [value] = JSON.parse(input ?? '[null]') as [unknown]
  if (value === null || value === undefined) return {}
  if (typeof value === 'string') return { string: value }
  if (typeof value === 'boolean') return { string: value ? 'True' : 'False' }
  return { string: JSON.stringify(value) }
}

export function activityCompleted(taskId: number, value: RpcTypedData | null | undefined, now: Date): TaskResult {
  const Result = resultText(value ?? {})
  return { ...stamp(now), EventType: EventType.TaskCompleted, TaskScheduledId: taskId, Result }
}

function resultText({ string, json, int, double, bytes }: RpcTypedData): string {
  if (json !== undefined) return json
  if (bytes) return JSON.stringify(Buffer.from(bytes).toString('base64'))
  return JSON.stringify(string ?? int ?? double ?? null)
}

/**
 * What the orchestrator learns of a failed activity: the message without credentials and without stack. If the app has
 * an exception properties provider, the message is JSON with the parts, and the orchestrator gets a TaskFailedError.
 */
export function activityFailed(taskId: number, name: string, error: unknown, now: Date): TaskFailure {
  const details = failureDetails(error)
  const message = details?.ErrorMessage ?? errorMessage(error)
  return {
    ...stamp(now),
    EventType: EventType.TaskFailed,
    TaskScheduledId: taskId,
    Reason: `Activity function '${name}' failed: ${message}`,
    Details: JSON.stringify({ ClassName: error instanceof Error ? error.name : 'Error', Message: message }),
    ...(details && { FailureDetails: details }),
  }
}

function failureDetails(error: unknown): FailureDetails | undefined {
  const message = error instanceof Error ? error.message : ''
  if (!message.startsWith('{')) return undefined
  try {
    const parts = JSON.parse(message) as Record<string, unknown>
    const { errorType, errorMessage: text, isNonRetriable, properties } = parts
    if (typeof errorType !== 'string' || typeof text !== 'string') return undefined
    return {
      ErrorType: errorType,
      ErrorMessage: sanitize(text),
      IsNonRetriable: isNonRetriable === true,
      Properties: JSON.parse(sanitize(JSON.stringify(properties ?? {}))) as Record<string, unknown>,
    }
  } catch {
    return undefined
  }
}
