/**
 * What passes between orchestrations and activities: small plain objects without secrets or row data, LSNs
 * as text. An expected failure is a value, so that orchestrations branch on its code and never on a message.
 */

export interface ActivityFailure {
  ok: false
  code: string
  message: string
  hint?: string
  retryable: boolean
}

export interface ServerInput {
  key: string
}

export interface DatabaseInput extends ServerInput {
  database: string
}

/** Every activity: its input, and its result when it went well. */
export interface Activities {
  /** May the migration start now? Waits are told to the user by the server status. */
  readiness: { input: ServerInput; result: Readiness }
  validate: { input: ServerInput; result: { proceed: boolean } }
  copyServerParameters: { input: ServerInput; result: object }
  prepareDatabase: { input: DatabaseInput; result: object }
  createSlot: { input: DatabaseInput; result: { startLsn: string } }
  planLoad: { input: DatabaseInput; result: { tables: number; width: number } }
  copyTables: { input: DatabaseInput & { worker: number }; result: { errored: number; remaining: number } }
  copyLargeObjects: { input: DatabaseInput; result: { finished: boolean } }
  /** A head start for buildIndexes while tables are still copied. */
  startIndexes: { input: DatabaseInput; result: object }
  buildIndexes: { input: DatabaseInput; result: { finished: boolean } }
  replicateSlice: { input: DatabaseInput; result: { next: 'slice' | 'cutover' | 'busy' } }
  cutoverDatabase: { input: DatabaseInput; result: { next: 'finished' | 'slice' } }
  /** fallback: a way back is on, and has to be followed. */
  endDatabase: {
    input: DatabaseInput & { outcome: DatabaseOutcome }
    result: { finished: boolean; fallback?: boolean }
  }
  followBack: { input: DatabaseInput; result: { next: 'slice' | 'busy' | 'switchBack' | 'end' } }
  switchBack: { input: DatabaseInput; result: { next: 'finished' | 'slice' } }
  /** failure: why the way back cannot go on. */
  endFallback: { input: DatabaseInput & { failure?: string }; result: { finished: boolean } }
  storeCutover: { input: ServerInput & { databases: unknown }; result: object }
  databasesEnded: { input: ServerInput; result: { ended: boolean } }
  endMigration: { input: ServerInput & { outcome?: ServerOutcome }; result: object }
}

export type ActivityName = keyof Activities

export type ActivityResult<N extends ActivityName> = ({ ok: true } & Activities[N]['result']) | ActivityFailure

export type Readiness =
  | { ready: true; databases: string[]; online: boolean; validate: boolean; migrate: boolean; parameters: boolean }
  | { ready: false; canceled: boolean; waitMs: number }

/** How a database ends; `message` is for the user. */
export interface DatabaseOutcome {
  state: 'Succeeded' | 'Failed' | 'Canceled'
  message?: string
}

export interface ServerOutcome {
  state: 'Succeeded' | 'Failed' | 'ValidationFailed' | 'Canceled'
  message?: string
}

/** Input of the orchestration of one database; `stage` is where a new generation goes on. */
export interface MigrateDatabaseInput extends DatabaseInput {
  online: boolean
  stage: 'load' | 'follow' | 'fallback'
}

/** Data of the external event `Cutover`; all databases when there is no list. */
export interface CutoverEvent {
  databases?: string[]
}
