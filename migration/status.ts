import type { MigrationState, MigrationSubstate } from './model/enums.ts'
import { isAsked, isCanceled, type MigrationRecord } from './model/record.ts'
import type { DatabaseStatus, MigrationDatabaseState, ServerStatus } from './model/status.ts'

/*
 * The lifecycle as the user sees it, derived from what is stored: nobody sets it, so it cannot contradict
 * the work. `state / currentSubState`:
 *
 *   InProgress / PerformingPreRequisiteSteps ──────────┐  Queued, CopyingParameters
 *        │            WaitingForUserAction / WaitingFor…  overwrite, schedule, window, logical replication …
 *        ▼                                             │
 *   InProgress / ValidationInProgress ─► ValidationFailed / Completed
 *        │      └─ option Validate ────► Succeeded / Completed
 *        ▼
 *   InProgress / MigratingData ◄──────────── a database fails or is cancelled: the others go on
 *        │ Offline          │ Online, every database that has not ended follows
 *        │                  ▼
 *        │     WaitingForUserAction / WaitingForCutoverTrigger
 *        ▼                  ▼ cutover of all of them
 *   InProgress / CompletingMigration
 *        ▼
 *   CleaningUp / CompletingMigration
 *        ▼
 *   Succeeded | Failed | Canceled / Completed
 *
 *   any of the running ones ─ cancel ─► InProgress / CancelingRequestedDBMigrations ─► Canceled / Completed
 */

/** What the user may do now; the words of the PATCH. */
export type Action =
  | 'cutover'
  | 'cancel'
  | 'setupLogicalReplicationOnSourceDbIfNeeded'
  | 'dbsToMigrate'
  | 'overwriteDbsInTarget'
  | 'startDataMigration'

export interface Lifecycle {
  state: MigrationState
  currentSubState: MigrationSubstate
  /** Only of a failed migration: which database, and why. */
  error?: string
  actions: Action[]
}

/** Total: what each wait of the server is waiting for. */
const ACTION_OF_WAIT: Record<NonNullable<ServerStatus['waitingFor']>, Action> = {
  WaitingForLogicalReplicationSetupRequestOnSourceDB: 'setupLogicalReplicationOnSourceDbIfNeeded',
  WaitingForDBsToMigrateSpecification: 'dbsToMigrate',
  WaitingForTargetDBOverwriteConfirmation: 'overwriteDbsInTarget',
  WaitingForDataMigrationScheduling: 'startDataMigration',
  WaitingForDataMigrationWindow: 'startDataMigration',
}

/** Total: whether a database in this state has nothing more before it. */
const ENDED: Record<MigrationDatabaseState, boolean> = {
  InProgress: false,
  WaitingForCutoverTrigger: false,
  Canceling: false,
  Canceled: true,
  Failed: true,
  Succeeded: true,
}

export function isEnded({ migrationState }: DatabaseStatus): boolean {
  return ENDED[migrationState]
}

/** A database's state with the commands that are stored and not yet noticed by the work. */
export function databaseState(record: MigrationRecord, status: DatabaseStatus): MigrationDatabaseState {
  if (isEnded(status)) return status.migrationState
  if (isAsked(record, 'cancel', status.database)) return 'Canceling'
  if (isAsked(record, 'cutover', status.database) && status.migrationState === 'WaitingForCutoverTrigger')
    return 'InProgress'
  return status.migrationState
}

/** True when a cutover of this database would be accepted now without force. */
export function canCutOver(record: MigrationRecord, status: DatabaseStatus): boolean {
  return (
    record.properties.migrationMode === 'Online' &&
    databaseState(record, status) === 'WaitingForCutoverTrigger' &&
    status.latencySeconds !== undefined &&
    status.latencySeconds <= record.properties.pgflex.maxLatencySecondsForCutover
  )
}

export function databaseActions(record: MigrationRecord, status: DatabaseStatus): Action[] {
  if (isEnded(status) || databaseState(record, status) === 'Canceling') return []
  return canCutOver(record, status) ? ['cutover', 'cancel'] : ['cancel']
}

/**
 * The state of a migration.
 *
 * @param databases one status for each of `dbsToMigrate`
 */
export function deriveState(record: MigrationRecord, server: ServerStatus, databases: DatabaseStatus[]): Lifecycle {
  // The databases end before the outcome is stored: secrets are deleted in between.
  const outcome = server.outcome ?? (server.phase === 'Ended' ? 'Failed' : undefined)
  if (outcome !== undefined) {
    const error = outcome === 'Failed' ? failure(server, databases) : undefined
    return { state: outcome, currentSubState: 'Completed', ...(error === undefined ? {} : { error }), actions: [] }
  }
  const active = databases.filter((status) => !isEnded(status))
  const actions = actionsOf(record, server, active)
  const running = active.filter((status) => databaseState(record, status) !== 'Canceling')
  if (isCanceled(record) || (active.length > 0 && running.length === 0)) {
    return { state: 'InProgress', currentSubState: 'CancelingRequestedDBMigrations', actions }
  }
  if (server.waitingFor !== undefined) {
    return { state: 'WaitingForUserAction', currentSubState: server.waitingFor, actions }
  }
  switch (server.phase) {
    case 'Queued':
    case 'Waiting':
    case 'CopyingParameters':
      return { state: 'InProgress', currentSubState: 'PerformingPreRequisiteSteps', actions }
    case 'Validating':
      return { state: 'InProgress', currentSubState: 'ValidationInProgress', actions }
    case 'Migrating':
    case 'Ended':
      return { ...migrating(record, running), actions }
  }
}

/** @param running the databases that have neither ended nor are being cancelled */
function migrating(record: MigrationRecord, running: DatabaseStatus[]): Pick<Lifecycle, 'state' | 'currentSubState'> {
  if (running.every((status) => status.phase === 'CleaningUp')) {
    return { state: 'CleaningUp', currentSubState: 'CompletingMigration' }
  }
  const waiting = running.filter((status) => databaseState(record, status) === 'WaitingForCutoverTrigger')
  if (running.length > 0 && waiting.length === running.length) {
    return { state: 'WaitingForUserAction', currentSubState: 'WaitingForCutoverTrigger' }
  }
  const copying = running.some((status) => !waiting.includes(status) && !isCompleting(record, status))
  return { state: 'InProgress', currentSubState: copying ? 'MigratingData' : 'CompletingMigration' }
}

function isCompleting(record: MigrationRecord, status: DatabaseStatus): boolean {
  if (status.phase === 'CuttingOver' || status.phase === 'CleaningUp' || status.phase === 'Ended') return true
  return status.migrationState === 'WaitingForCutoverTrigger' && isAsked(record, 'cutover', status.database)
}

/** As the service writes it: `database: what happened`. */
function failure({ error }: ServerStatus, databases: DatabaseStatus[]): string {
  const failed = databases
    .filter(({ migrationState }) => migrationState === 'Failed')
    .map(({ database, message }) => `${database}: ${message ?? 'The migration of this database failed.'}`)
  // The server's own words may already name the databases.
  const parts = error === undefined ? failed : [error, ...failed.filter((text) => !error.includes(text))]
  return parts.length === 0 ? 'The migration failed.' : parts.join(' ')
}

function actionsOf(record: MigrationRecord, server: ServerStatus, active: DatabaseStatus[]): Action[] {
  if (isCanceled(record)) return []
  const legal = new Set(active.flatMap((status) => databaseActions(record, status)))
  if (server.waitingFor !== undefined) legal.add(ACTION_OF_WAIT[server.waitingFor])
  return [...legal]
}
