/** What is known of a migration while it runs and after it has ended: the documents that GET is answered from. */

export type DatabasePhase =
  | 'Queued'
  | 'PreparingSchema'
  | 'CreatingSlot'
  | 'CopyingData'
  | 'BuildingIndexes'
  | 'Following'
  | 'CuttingOver'
  | 'CleaningUp'
  | 'Ended'

export type MigrationDatabaseState =
  | 'InProgress'
  | 'WaitingForCutoverTrigger'
  | 'Canceling'
  | 'Canceled'
  | 'Failed'
  | 'Succeeded'

/** One database of a migration. Times are ISO 8601 UTC. */
export interface DatabaseStatus {
  database: string
  phase: DatabasePhase
  migrationState: MigrationDatabaseState
  startedOn?: string
  endedOn?: string
  /** Why it failed or what it waits for, in words. */
  message?: string
  tables: { queued: number; loading: number; completed: number; errored: number }
  progress: { rowsDone: number; rowsTotal: number; bytesDone: number; bytesTotal: number; estimatedEnd?: string }
  changes: ChangeCounters
  /** Seconds since the oldest commit of the source that the target does not have; 0 only when true. */
  latencySeconds?: number
  /** Greatest latency seen while following. */
  maxLatencySeconds?: number
  lagBytes?: number
  slot?: { name: string; walStatus: string; retainedBytes: number; safeWalBytes?: number }
  /** Set before writes are frozen on the source, gone when they are let in again: what the database had before. */
  freeze?: { previous: string | null }
  cutover?: CutoverReport
  verification?: VerificationReport
  cutoverFacts?: CutoverFacts
  warnings: string[]
}

/** What a cutover needs besides copied tables and a small latency, as it was last seen while following. */
export interface CutoverFacts {
  at: string
  /** Indexes, constraints and their like on the target. */
  failedObjects: NamedObjects
  pendingObjects: NamedObjects
  /** Tables of the source that are not copied or not published. */
  unfollowed: NamedObjects
  /** Tables of which UPDATE and DELETE cannot be followed. */
  withoutIdentity: NamedObjects
  /** Sequences of the source. */
  sequences: number
  missingSequences: NamedObjects
  /** What would let writes in on the source in spite of a freeze, with what is to be done about it. */
  freezeObstacles: NamedObjects
  /** Transactions on the source that a freeze would end. */
  longTransactions: NamedObjects
}

/** How many there are, and the first of them. */
export interface NamedObjects {
  count: number
  names: string[]
}

/** Row changes read from the source after the load, and those applied to the target. */
export interface ChangeCounters {
  inserts: number
  updates: number
  deletes: number
  truncates: number
  incoming: number
  applied: number
  /** Source transactions applied. */
  transactions: number
  /** UPDATE or DELETE that touched no row on the target: 0 unless something is wrong. */
  missed: number
}

export interface CutoverReport {
  startedAt: string
  endedAt?: string
  /** From the freeze of writes to the last step. */
  downtimeSeconds?: number
  /** Of a switch back: from here on there is only forwards. */
  decidedAt?: string
  /** The source's flush LSN after the freeze: everything up to it is on the target. */
  endLsn?: string
  steps: { name: string; startedAt: string; endedAt?: string; message?: string }[]
}

export interface VerificationReport {
  mode: 'Checksums' | 'Counts' | 'None'
  /** Running: of a comparison while following, see verify-while-following.ts. */
  result: 'Equal' | 'Different' | 'Skipped' | 'Running'
  tables: number
  rows: number
  seconds: number
  differences: TableDifference[]
  /** What only a comparison while following has. */
  whileFollowing?: FollowingVerification
}

export interface TableDifference {
  table: string
  source: string
  target: string
  /** Some of the rows. */
  rows?: RowDifference[]
}

/** A row that is not the same on both sides; values are as text, and long ones are cut. */
export interface RowDifference {
  /** Empty where a table has no key. */
  key: Record<string, string>
  found: 'Different' | 'OnlySource' | 'OnlyTarget'
  columns: { column: string; source: string | null; target: string | null }[]
}

export interface FollowingVerification {
  requestedAt: string
  endedAt?: string
  tablesDone: number
  /** Rows that changed at every look, so that nothing can be said of them. */
  unsettledRows: number
  /** Tables that were not compared, and why. */
  skipped: { table: string; reason: string }[]
  /** Objects that are on one side only. */
  objects: ObjectDifference[]
}

/** An object of the schema that one side has, or has otherwise. */
export interface ObjectDifference {
  kind: string
  name: string
  found: 'OnlySource' | 'OnlyTarget'
}

/** The part of a migration that belongs to the server as a whole. */
export interface ServerStatus {
  phase: 'Queued' | 'Waiting' | 'Validating' | 'CopyingParameters' | 'Migrating' | 'Ended'
  /** Set when the migration as a whole is over. */
  outcome?: 'Succeeded' | 'Failed' | 'ValidationFailed' | 'Canceled'
  /** What the user has to decide before it goes on. */
  waitingFor?:
    | 'WaitingForLogicalReplicationSetupRequestOnSourceDB'
    | 'WaitingForDBsToMigrateSpecification'
    | 'WaitingForTargetDBOverwriteConfirmation'
    | 'WaitingForDataMigrationScheduling'
    | 'WaitingForDataMigrationWindow'
  endedAt?: string
  error?: string
  sourceVersion?: string
  targetVersion?: string
  validation?: ValidationDetails
  parameters?: ParameterReport[]
  warnings: string[]
}

export type ValidationState = 'Failed' | 'Succeeded' | 'Warning'

/** Azure's shape; `hint` of a message is ours. */
export interface ValidationSummaryItem {
  type: string
  state: ValidationState
  messages?: { state: ValidationState; message: string }[]
}

export interface ValidationDetails {
  status: ValidationState
  validationStartTimeInUtc: string
  validationEndTimeInUtc: string
  serverLevelValidationDetails: ValidationSummaryItem[]
  dbLevelValidationDetails: {
    databaseName: string
    startedOn: string
    endedOn: string
    summary: ValidationSummaryItem[]
  }[]
}

/** One server parameter that differs from its default on the source, and what became of it. */
export interface ParameterReport {
  name: string
  scope: 'server' | 'database'
  database?: string
  sourceValue: string
  targetValue?: string
  result: 'Equal' | 'Set' | 'NeedsRestart' | 'Reported' | 'NotSet'
  reason?: string
}

export interface MigrationEvent {
  at: string
  level: 'info' | 'warning' | 'error'
  database?: string
  /** A stable word, such as `SlotCreated`. */
  event: string
  message: string
}

/** One point of the plots. */
export interface Sample {
  at: string
  database: string
  latencySeconds: number
  lagBytes: number
  rowsCopied: number
  bytesCopied: number
  changesApplied: number
}

export function newDatabaseStatus(database: string): DatabaseStatus {
  return {
    database,
    phase: 'Queued',
    migrationState: 'InProgress',
    tables: { queued: 0, loading: 0, completed: 0, errored: 0 },
    progress: { rowsDone: 0, rowsTotal: 0, bytesDone: 0, bytesTotal: 0 },
    changes: { inserts: 0, updates: 0, deletes: 0, truncates: 0, incoming: 0, applied: 0, transactions: 0, missed: 0 },
    warnings: [],
  }
}
