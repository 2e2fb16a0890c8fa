import { EventType, type ExecutionTerminated, type Message } from './history.ts'
import type { InboxEntry, Instance } from './store.ts'

export interface Batch {
  /** What the step takes into the history, in this order. */
  messages: Message[]
  /** What leaves the inbox: the messages, and those for a generation that is over. */
  consumed: number[]
  suspended: boolean
  terminated?: ExecutionTerminated
}

/**
 * Chooses what the next step of an instance works on. While an instance is suspended, everything but a resumption
 * and a termination stays in the inbox; it comes, in the old order, right after the resumption.
 */
export function takeBatch(
  inbox: InboxEntry[],
  { executionId, status }: Pick<Instance, 'executionId' | 'status'>,
): Batch {
  const batch: Batch = { messages: [], consumed: [], suspended: status === 'Suspended' }
  let withheld: InboxEntry[] = []
  const take = ({ seq, message }: InboxEntry) => {
    batch.messages.push(message)
    batch.consumed.push(seq)
  }

  for (const entry of inbox) {
    const { message } = entry
    if (entry.executionId !== null && entry.executionId !== executionId) batch.consumed.push(entry.seq)
    else if (message.EventType === EventType.ExecutionTerminated) {
      take(entry)
      batch.terminated = message
      break
    } else if (message.EventType === EventType.ExecutionSuspended) {
      take(entry)
      batch.suspended = true
    } else if (message.EventType === EventType.ExecutionResumed) {
      take(entry)
      batch.suspended = false
      withheld.forEach(take)
      withheld = []
    } else if (batch.suspended) withheld.push(entry)
    else take(entry)
  }
  return batch
}
