import { clientConfig, connect } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
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
  const endpoint = (side: Side): ReturnType<DatabaseContext['endpoint']> => context.endpoint(OTHER[side])
  return {
    ...context,
    key,
    record: { ...record, source: record.target, target: record.source },
    endpoint,
    connect: (side, name, purpose) => context.connect(OTHER[side], name, purpose),
    source: (purpose) => context.target(purpose),
    target: (purpose) => context.source(purpose),
    replication: (purpose) => connect(endpoint('source'), { database, purpose, replication: true }),
    replicationConfig: (purpose) => clientConfig(endpoint('source'), { database, purpose, replication: true }),
    status: (change) => updateDatabaseStatus(documents, key, database, change),
    event: (event) => context.event({ ...event, message: `${WAY_BACK} ${event.message}` }),
  }
}

/** Messages of the engine say source and target. */
export const WAY_BACK = 'Way back (its source is the new server, its target the old one):'
