import type { Connection } from '../connect.ts'
import type { ObjectDifference, VerificationReport } from '../model/status.ts'
import type { TableName } from './compared-table.ts'
import type { Cursor } from './compare-range.ts'
import type { Suspect } from './suspects.ts'

/**
 * Where a comparison while following is, so that the next slice, or another instance, goes on with it. It is in the
 * control schema, and not among the documents, since it names rows.
 */
export interface VerificationState {
  /** Which comparison it is: the time of its request, or another name. */
  requestedAt: string
  /** Those that are not finished; the first one is at work. Not there before the tables are known. */
  tables?: QueuedTable[]
  cursor: Cursor
  /** Rows of the range before the cursor that are looked at again. */
  suspects?: Suspects
  /** Attempts at the range at work that failed, or that left suspects out. */
  attempts: number
  /** Objects that were on one side only when it began. */
  objects: ObjectDifference[]
  report: VerificationReport
}

export interface QueuedTable extends TableName {
  bytes: number
  /** Of pgflex.compared_table, once its changes are to be marked. */
  id?: number
}

export interface Suspects {
  /** The source's WAL after the last look at the source: until the target has come to it, it may be behind. */
  lsn: string
  round: number
  rows: Suspect[]
  /** The range has more of them: it is compared again. */
  again: boolean
  /** Where the table goes on after them; nothing at its end. */
  next?: Cursor
}

export function newVerification(name: string, requestedAt = name): VerificationState {
  return {
    requestedAt: name,
    cursor: { pass: 'source' },
    attempts: 0,
    objects: [],
    report: {
      mode: 'Checksums',
      result: 'Running',
      tables: 0,
      rows: 0,
      seconds: 0,
      differences: [],
      whileFollowing: { requestedAt, tablesDone: 0, unsettledRows: 0, skipped: [], objects: [] },
    },
  }
}

/** The state of this comparison, if it is at work. */
export async function findVerification(target: Connection, name: string): Promise<VerificationState | undefined> {
  const { rows } = await target.query<{ state: string }>(
    'select state::text as state from pgflex.verification where requested_at = $1',
    [name],
  )
  return rows[0] && (JSON.parse(rows[0].state) as VerificationState)
}

/** Stores the state; lost, the comparison begins anew, which harms nothing. */
export async function storeVerification(target: Connection, state: VerificationState): Promise<void> {
  await target.query(
    `insert into pgflex.verification (requested_at, state) values ($1, $2)
     on conflict (requested_at) do update set state = excluded.state`,
    [state.requestedAt, JSON.stringify(state)],
  )
}

export async function forgetVerification(target: Connection, name: string): Promise<void> {
  await target.query('delete from pgflex.verification where requested_at = $1', [name])
}

/** Of a request that was never carried out to its end. */
export async function forgetOthers(target: Connection, names: string[]): Promise<void> {
  await target.query('delete from pgflex.verification where requested_at <> all ($1::text[])', [names])
}

/** The comparison goes on at another place of the table at work. */
export function moveTo(state: VerificationState, place: Cursor): void {
  delete state.suspects
  state.attempts = 0
  state.cursor = place
}

/** Goes on with another place of the table at work, or with the next table. */
export function moveOn(state: VerificationState, next: Cursor | undefined): void {
  moveTo(state, next ?? { pass: 'source' })
  if (next) return
  state.tables?.shift()
  state.report.whileFollowing!.tablesDone++
}
