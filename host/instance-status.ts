import { EventType, eventName, isTaskEnd, isTaskStart, type HistoryEvent } from './history.ts'
import type { Instance } from './store.ts'

export interface StatusOptions {
  showInput: boolean
  showHistory: boolean
  showHistoryOutput: boolean
}

const parsed = (text: string | null): unknown => (text === null ? null : JSON.parse(text))

/** The client's date format: seconds, no fraction. */
const seconds = (iso: string) => iso.replace(/\.\d+Z$/, 'Z')

/** An instance as the management API shows it. */
export function instanceStatus(instance: Instance, history: HistoryEvent[], options: StatusOptions) {
  return {
    name: instance.name,
    instanceId: instance.id,
    runtimeStatus: instance.status,
    input: options.showInput ? parsed(instance.input) : null,
    customStatus: parsed(instance.customStatus),
    output: parsed(instance.output),
    createdTime: seconds(instance.createdAt),
    lastUpdatedTime: seconds(instance.updatedAt),
    ...(options.showHistory && { historyEvents: historyView(history, options.showHistoryOutput) }),
  }
}

/** The history for people: types by name, and the start of a task folded into its end. */
export function historyView(history: HistoryEvent[], showOutput: boolean): Record<string, unknown>[] {
  const starts = new Map<string, { FunctionName?: string; ScheduledTime: string }>()
  const ended = new Set<string>()
  for (const event of history) {
    const task = startedTask(event)
    if (task)
      starts.set(task, { FunctionName: 'Name' in event ? event.Name : undefined, ScheduledTime: event.Timestamp })
    const end = endedTask(event)
    if (end) ended.add(end)
  }
  return history
    .filter((event) => !isEpisodeMark(event) && !ended.has(startedTask(event) ?? ''))
    .map((event) => {
      const { EventId: _, ...rest } = event
      const view: Record<string, unknown> = { ...rest, EventType: eventName(event.EventType) }
      if (event.EventType === EventType.ExecutionStarted) view['FunctionName'] = event.Name
      if ('Input' in view) delete view['Input']
      if ('Result' in view) {
        if (showOutput) view['Result'] = parsed(view['Result'] as string | null)
        else delete view['Result']
      }
      return Object.assign(view, starts.get(endedTask(event) ?? ''))
    })
}

const isEpisodeMark = ({ EventType: type }: HistoryEvent) =>
  type === EventType.OrchestratorStarted || type === EventType.OrchestratorCompleted

const startedTask = (event: HistoryEvent) => (isTaskStart(event) ? String(event.EventId) : undefined)

function endedTask(event: HistoryEvent): string | undefined {
  if (isTaskEnd(event)) return String(event.TaskScheduledId)
  return event.EventType === EventType.TimerFired ? String(event.TimerId) : undefined
}
