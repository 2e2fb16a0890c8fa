import { randomUUID } from 'node:crypto'
import { EventType, stamp } from './history.ts'
import { isTerminal, type Store } from './store.ts'

export interface NewInstance {
  id: string
  name: string
  version: string | null
  /** JSON text. */
  input: string | null
  parent?: { id: string; executionId: string; taskId: number }
}

/**
 * Creates an instance with its start message, inside the caller's transaction. A finished instance of the same id
 * is replaced; a live one stays, and the answer is false.
 */
export function startInstance(store: Store, { id, name, version, input, parent }: NewInstance, now: Date): boolean {
  const existing = store.instance(id)
  if (existing && !isTerminal(existing.status)) return false
  store.clearInstance(id)

  const executionId = randomUUID().replaceAll('-', '')
  const at = now.toISOString()
  store.putInstance({
    id,
    executionId,
    name,
    version,
    status: 'Pending',
    input,
    output: null,
    customStatus: null,
    createdAt: at,
    updatedAt: at,
    parentId: parent?.id ?? null,
    parentExecutionId: parent?.executionId ?? null,
    parentTaskId: parent?.taskId ?? null,
  })
  store.sendFirst(id, {
    ...stamp(now),
    EventType: EventType.ExecutionStarted,
    Name: name,
    Version: version,
    Input: input,
    ParentInstance: parent ? { OrchestrationInstance: { InstanceId: parent.id }, TaskScheduleId: parent.taskId } : null,
    OrchestrationInstance: { InstanceId: id, ExecutionId: executionId },
  })
  return true
}
