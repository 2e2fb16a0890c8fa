import { clientConfig, connect, type Connection, type Endpoint } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { MigrationError } from '../errors.ts'
import { ofWayBack } from '../model/fallback.ts'
import { updateDatabaseStatus } from '../store/migrations.ts'
import type { Side } from '../store/secrets.ts'

/**
 * Names what belongs to the way back: its documents, its control schema on the old source, and, by way of
 * slot-name.ts, slot and publications on the new server. Keys of migrations have no dot.
 */
export function backKey(migrationKey: string): string {
  return `${migrationKey}.back`
}

const OTHER: Record<Side, Side> = { source: 'target', target: 'source' }

/**
 * The same database with the sides changed over: its source is the server that was migrated to, its target the old
 * source. All that follows and cuts over works on it as it is. Its status is a document of its own, so that the
 * status of the migration stays what it was; its control schema is in the database of the old source.
 */
export function reversed(context: DatabaseContext): DatabaseContext {
  const { database, documents, record } = context
  const key = backKey(context.key)
  // Named by its part here, as all messages of the engine do it; its password is that of the server.
  const endpoint = (side: Side): Endpoint => ({ ...context.endpoint(OTHER[side]), side })
  const open = (side: Side, name: string, purpose: string): Promise<Connection> =>
    connect(endpoint(side), { database: name, purpose })
  return {
    ...context,
    key,
    record: { ...record, source: record.target, target: record.source },
    endpoint,
    connect: open,
    source: (purpose) => open('source', database, purpose),
    target: (purpose) => open('target', database, purpose),
    replication: (purpose) => connect(endpoint('source'), { database, purpose, replication: true }),
    replicationConfig: (purpose) => clientConfig(endpoint('source'), { database, purpose, replication: true }),
    status: (change) => updateDatabaseStatus(documents, key, database, change),
    event: (event) => context.event({ ...event, message: ofWayBack(event.message) }),
  }
}

/** Runs work on a reversed context for somebody to whom source and target are the other way round. */
export async function tellingSides<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof MigrationError) || error.code === 'LeaseLost') throw error
    const { code, message, hint, retryable } = error
    throw new MigrationError(code, ofWayBack(message), {
      ...(hint === undefined ? {} : { hint }),
      retryable,
      cause: error,
    })
  }
}
