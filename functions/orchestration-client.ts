import type { InvocationContext } from '@azure/functions'
import * as df from 'durable-functions'
import { errorText } from '../migration/errors.ts'
import type { Logger } from '../migration/log.ts'
import type { Patched } from '../migration/model/patch.ts'
import type { StoredMigration } from '../migration/read-migration.ts'
import { deriveState } from '../migration/status.ts'

/** The orchestration of a migration; its instance id is the migration's key. */
export interface Orchestration {
  /** Starts it unless it was started before: a process may have died between storing and starting. */
  ensureStarted(stored: StoredMigration): Promise<void>
  /** Tells it of a request. The request is stored already, so a failure is logged and no more. */
  wake(stored: StoredMigration, events: Patched['events']): Promise<void>
}

export function orchestration(context: InvocationContext, log: Logger): Orchestration {
  const client = df.getClient(context)

  async function ensureStarted({ record, server, databases }: StoredMigration): Promise<void> {
    if (deriveState(record, server, databases).currentSubState === 'Completed') return
    // Starting an instance that has ended would replace it, history and all.
    if (await isKnown(client, record.key)) return
    try {
      await client.startNew('migrateServer', { instanceId: record.key, input: { key: record.key } })
    } catch (error) {
      // Another request was quicker.
      if (!(await isKnown(client, record.key))) throw error
    }
  }

  return {
    ensureStarted,
    async wake(stored, events) {
      const { key } = stored.record
      try {
        await ensureStarted(stored)
        for (const { name, data } of events) await client.raiseEvent(key, name, data)
      } catch (error) {
        log.warn('the orchestration was not told; the stored request stands', { key, error: errorText(error) })
      }
    },
  }
}

async function isKnown(client: df.DurableClient, instanceId: string): Promise<boolean> {
  try {
    await client.getStatus(instanceId)
    return true
  } catch (error) {
    // The client tells a missing instance from other failures only in its message.
    if (error instanceof Error && error.message.includes('HTTP 404')) return false
    throw error
  }
}
