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
  requestedAt: string
  /** Those that are not finished; the first one is at work. Not there before the tables are known. */
  tables?: TableName[]
  cursor: Cursor
  /** Rows of the range before the cursor that are looked at again. */
  suspects?: Suspects
  /** Attempts at the range at work that failed, or that left suspects out. */
  attempts: number
  /** Objects that were on one side only when it began. */
  objects: ObjectDifference[]
  report: VerificationReport
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

export function newVerification(requestedAt: string): VerificationState {
  return {
    requestedAt,
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

/** The state of this request, or that of a new one. */
export async function readVerification(target: Connection, requestedAt: string): Promise<VerificationState> {
  const { rows } = await target.query<{ state: string }>(
    'select state::text as state from pgflex.verification where requested_at = $1',
    [requestedAt],
  )
  return rows[0] ? (JSON.parse(rows[0].state) as VerificationState) : newVerification(requestedAt)
}

/** Stores the state in place of any other; lost, the comparison begins anew, which harms nothing. */
export async function storeVerification(target: Connection, state: VerificationState): Promise<void> {
  await target.query(
    `with old as (delete from pgflex.verification where requested_at <> $1)
     insert into pgflex.verification (requested_at, state) values ($1, $2)
     on conflict (requested_at) do update set state = excluded.state`,
    [state.requestedAt, JSON.stringify(state)],
  )
}

/** Goes on with another place of the table at work, or with the next table. */
export function moveOn(state: VerificationState, next: Cursor | undefined): void {
  delete state.suspects
  state.attempts = 0
  if (next) {
    state.cursor = next
    return
  }
  state.tables?.shift()
  state.cursor = { pass: 'source' }
  state.report.whileFollowing!.tablesDone++
}
