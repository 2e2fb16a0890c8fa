import type { ServerContext } from '../context.ts'
import { fallbackIsOn } from '../model/fallback.ts'
import type { ServerOutcome } from '../model/activity.ts'
import type { DatabaseStatus, ServerStatus } from '../model/status.ts'
import { readFallbacks, withStatus } from '../read-migration.ts'
import {
  readDatabaseStatus,
  readServerStatus,
  updateDatabaseStatus,
  updateRecord,
  updateServerStatus,
} from '../store/migrations.ts'
import { passwordName } from '../store/secrets.ts'

/** Whether all databases have ended, in whatever way. */
export async function databasesEnded(context: ServerContext): Promise<{ ended: boolean }> {
  return { ended: (await readDatabases(context)).every(hasEnded) }
}

/**
 * Sums up the migration and deletes its secrets. Idempotent; the last database to end calls it, and the
 * orchestration of the migration once more.
 *
 * @param given the outcome when the databases do not decide it
 */
export async function endMigration(context: ServerContext, given?: ServerOutcome): Promise<object> {
  const server = await readServerStatus(context.documents, context.key)
  if (server.outcome !== undefined) {
    await deleteSecrets(context)
    return {}
  }
  const endedAt = new Date().toISOString()
  if (given !== undefined) await endOpenDatabases(context, given, endedAt)
  const outcome = given ?? sumUp(await readDatabases(context))
  const message = outcome.message ?? (outcome.state === 'ValidationFailed' ? failedChecks(server) : undefined)
  await deleteSecrets(context)
  await updateRecord(context.documents, context.key, (record) => ({
    ...record,
    properties: { ...record.properties, migrationWindowEndTimeInUtc: endedAt },
  }))
  await updateServerStatus(context.documents, context.key, {
    phase: 'Ended',
    waitingFor: undefined,
    outcome: outcome.state,
    endedAt,
    ...(message === undefined ? {} : { error: message }),
  })
  await context.event({
    level: outcome.state === 'Succeeded' || outcome.state === 'Canceled' ? 'info' : 'error',
    event: 'Ended',
    message: `The migration ended: ${outcome.state}.${message === undefined ? '' : ` ${message}`}`,
  })
  return {}
}

export function hasEnded({ phase }: DatabaseStatus): boolean {
  return phase === 'Ended'
}

/** One failed database makes the migration a failed one; otherwise one that succeeded makes it a success. */
export function sumUp(databases: DatabaseStatus[]): ServerOutcome {
  const failed = databases.filter(({ migrationState, phase }) => migrationState === 'Failed' || phase !== 'Ended')
  if (failed.length > 0) {
    return {
      state: 'Failed',
      message: failed
        .map(({ database, message }) => `${database}: ${message ?? 'it ended without saying why'}`)
        .join(' '),
    }
  }
  return { state: databases.some(({ migrationState }) => migrationState === 'Succeeded') ? 'Succeeded' : 'Canceled' }
}

function readDatabases({ documents, key, record }: ServerContext): Promise<DatabaseStatus[]> {
  return Promise.all(record.properties.dbsToMigrate.map((database) => readDatabaseStatus(documents, key, database)))
}

/** Databases whose migration never began end with the migration. */
async function endOpenDatabases(context: ServerContext, outcome: ServerOutcome, endedOn: string): Promise<void> {
  if (outcome.state !== 'Canceled' && outcome.state !== 'Failed') return
  for (const database of await readDatabases(context)) {
    if (hasEnded(database)) continue
    await updateDatabaseStatus(context.documents, context.key, database.database, {
      phase: 'Ended',
      migrationState: outcome.state,
      endedOn,
      ...(outcome.message === undefined ? {} : { message: outcome.message }),
    })
  }
}

function failedChecks({ validation }: ServerStatus): string | undefined {
  const items = [
    ...(validation?.serverLevelValidationDetails ?? []),
    ...(validation?.dbLevelValidationDetails ?? []).flatMap(({ databaseName, summary }) =>
      summary.map((item) => ({
        ...item,
        messages: item.messages?.map((m) => ({ ...m, message: `${databaseName}: ${m.message}` })),
      })),
    ),
  ]
  const messages = items.flatMap(({ messages }) => messages ?? []).filter(({ state }) => state === 'Failed')
  return messages.length === 0 ? undefined : messages.map(({ message }) => message).join(' ')
}

/** They stay for as long as a way back needs them; its end comes here again. */
async function deleteSecrets({ secrets, key, record, documents }: ServerContext): Promise<void> {
  const stored = await withStatus({ documents }, record)
  if (readFallbacks(stored).some(fallbackIsOn)) return
  for (const side of ['source', 'target'] as const) await secrets.delete(passwordName(key, side))
}
