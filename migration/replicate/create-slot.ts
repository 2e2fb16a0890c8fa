import type { DatabaseContext } from '../context.ts'
import { createPublicationAndSlot } from './replication-slot.ts'

/** Makes publication and slot on the source, before any row is copied. Idempotent. */
export async function createSlot(context: DatabaseContext): Promise<{ startLsn: string }> {
  await context.status({ phase: 'CreatingSlot' })
  const { slot, publication, startLsn } = await createPublicationAndSlot(context)
  await context.event({
    level: 'info',
    event: 'SlotCreated',
    message: `Slot ${slot} and publication ${publication} are at ${startLsn}.`,
  })
  return { startLsn }
}
