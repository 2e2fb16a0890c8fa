import type { ServerContext } from '../context.ts'
import type { Readiness } from '../model/activity.ts'
import { isCanceled, type MigrationRecord } from '../model/record.ts'
import type { ServerStatus } from '../model/status.ts'
import { updateServerStatus } from '../store/migrations.ts'
import { findOccupiedDatabases } from './target-databases.ts'

/** ms; the longest wait before looking again: events of the user wake the orchestration up before. */
const LONGEST_WAIT = 30_000

/** Says whether the migration may start now, or what it waits for; the user sees the latter as the substate. */
export async function readiness(context: ServerContext): Promise<Readiness> {
  const { record } = context
  const decision = decideStart(record, Date.now())
  if (decision.ready && decision.migrate && !record.properties.overwriteDbsInTarget) {
    // What keeps us from looking is reported by the validation, or stops the migration when there is none.
    const occupied = await findOccupiedDatabases(context).catch((error) => {
      if (decision.validate) return []
      throw error
    })
    if (occupied.length > 0) {
      await updateServerStatus(context.documents, context.key, {
        phase: 'Waiting',
        waitingFor: 'WaitingForTargetDBOverwriteConfirmation',
      })
      return { ready: false, canceled: false, waitMs: LONGEST_WAIT }
    }
  }
  const { waitingFor, ...readiness } = decision
  await updateServerStatus(context.documents, context.key, (status) => ({
    ...status,
    phase: decision.ready ? status.phase : 'Waiting',
    waitingFor,
  }))
  return readiness
}

/** The decision without a look at the servers. */
export function decideStart(
  record: MigrationRecord,
  now: number,
): Readiness & { waitingFor?: ServerStatus['waitingFor'] } {
  const { properties } = record
  const { migrationOption } = properties
  if (properties.dbsToMigrate.length > 0 && isCanceled(record)) return { ready: false, canceled: true, waitMs: 0 }
  if (properties.dbsToMigrate.length === 0) {
    return { ready: false, canceled: false, waitMs: LONGEST_WAIT, waitingFor: 'WaitingForDBsToMigrateSpecification' }
  }
  if (properties.startDataMigration === false) {
    return { ready: false, canceled: false, waitMs: LONGEST_WAIT, waitingFor: 'WaitingForDataMigrationScheduling' }
  }
  const untilWindow = Date.parse(properties.migrationWindowStartTimeInUtc) - now
  if (untilWindow > 0 && properties.startDataMigration !== true) {
    return {
      ready: false,
      canceled: false,
      waitMs: Math.min(untilWindow, LONGEST_WAIT),
      waitingFor: 'WaitingForDataMigrationWindow',
    }
  }
  return {
    ready: true,
    databases: properties.dbsToMigrate,
    online: properties.migrationMode === 'Online',
    validate: migrationOption !== 'Migrate',
    migrate: migrationOption !== 'Validate',
    parameters: properties.pgflex.serverParameters !== 'Skip',
  }
}
