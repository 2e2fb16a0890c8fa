import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { errorText, sqlState } from '../errors.ts'
import { formatLsn, parseLsn } from '../lsn.ts'
import { tableFilter } from '../model/table-filter.ts'
import { listIdentified } from '../replicate/publication.ts'
import { pause } from '../replicate/slice-report.ts'
import { SourceMarks } from '../replicate/source-marks.ts'
import { commonDigest, versionOf } from './compare-checksums.ts'
import { compareRange } from './compare-range.ts'
import { compareSchemas, lastingObjects } from './compare-schemas.ts'
import { listComparedTables, tableKey, tableTitle, type TableName } from './compared-table.ts'
import { describeLasting } from './lasting-differences.ts'
import { digestsOf, type RowsOf } from './row-digests.ts'
import { addRowDifferences } from './row-differences.ts'
import { readRowsOf } from './rows-of.ts'
import { judgeSuspects } from './suspects.ts'
import { pinOutput } from './table-hash.ts'
import { targetReaches } from './target-reaches.ts'
import {
  moveOn,
  storeVerification,
  type QueuedTable,
  type Suspects,
  type VerificationState,
} from './verification-state.ts'

/** What it works with. The two sides are its own sessions, with pinned output. */
export interface Verification {
  context: DatabaseContext
  source: Connection
  target: Connection
  /** Where the state is kept: a session that outlives the two. */
  control: Connection
  signal: AbortSignal
  state: VerificationState
  /** Pause after each piece of work, in parts of the time that it took: the servers have their real work to do. */
  rest: number
  /** What becomes of each table is kept for the cutover, in place of the comparison of the schema. */
  kept?: KeptTables
}

export interface KeptTables {
  /** Which of the tables that can be compared are to be. @param left those that can't */
  choose(followed: QueuedTable[], left: TableName[]): Promise<QueuedTable[]>
  /** Before each piece of work: what changes in the first table is marked. @returns false when told to stop */
  begin(): Promise<boolean>
  end(table: QueuedTable): Promise<void>
  show(): Promise<void>
}

/** Looks at rows that are being changed, before they are left as unsettled. */
const ROUNDS = 6
/** Attempts at a range that cannot be read, or that has more suspects than are looked at. */
const ATTEMPTS = 3
/** ms; longer than this no statement of ours runs: it would outlive its slice. Short of the 30 s of a slice. */
const STATEMENT_MS = 25_000
/** ms between two records of the place and of the status. */
const STORE_MS = 1_000
/**
 * Goes on with a comparison until it is finished, or until the signal is aborted.
 *
 * Rows that differ may only be on their way. So they are looked at again when the target has come to where the source
 * was at the time of the look, up to some rounds; see suspects.ts.
 *
 * @returns true when it is finished
 */
export async function verifyWhileFollowing(verification: Verification): Promise<boolean> {
  const { context, source, target, control, signal, state, rest, kept } = verification
  const { report } = state
  const show = (): Promise<unknown> => kept?.show() ?? context.status({ verification: report })
  for (const side of [source, target]) {
    await pinOutput(side)
    await side.query(`set statement_timeout = ${STATEMENT_MS}`)
  }
  const digest = commonDigest([await versionOf(source), await versionOf(target)])
  if (!state.tables) await plan(verification)
  let [plans, stored] = [await readRowsOf(source, target, digest), performance.now()]
  while (!signal.aborted && state.tables![0]) {
    if (kept && !(await kept.begin())) break
    const began = performance.now()
    const table = state.tables![0]
    const rows = plans.get(tableKey(table))
    try {
      if (!rows) skip(state, table, 'it is no longer on both sides, or has no column in common')
      else if (state.suspects) await settle(verification, rows, state.suspects)
      else await compare(verification, rows)
    } catch (error) {
      // Its sessions are ended then, wherever it is. What is in the state is whole.
      if (signal.aborted) break
      const code = sqlState(error)
      if (code === undefined || /^(08|57P)/.test(code)) throw error
      state.attempts++
      // Only the code: PostgreSQL's words may hold values.
      if (state.attempts >= ATTEMPTS) skip(state, table, `it could not be read (SQLSTATE ${code})`)
      plans = await readRowsOf(source, target, digest)
    }
    if (kept && state.tables![0] !== table) await kept.end(table)
    const took = performance.now() - began
    report.seconds = Math.round(report.seconds * 1000 + took) / 1000
    if (performance.now() - stored >= STORE_MS) {
      await storeVerification(control, state)
      await show()
      stored = performance.now()
    }
    await pause(took * rest, signal)
  }
  if (!signal.aborted) await finish(verification)
  await storeVerification(control, state)
  await show()
  return report.result !== 'Running'
}

/** What a failure is to say in the log: never the words of PostgreSQL, which may hold values. */
export function verificationFailure(error: unknown): string {
  const code = sqlState(error)
  return code === undefined ? errorText(error) : `SQLSTATE ${code}`
}

/** The tables whose every change is followed, the smallest first: a result comes soon. */
async function plan({ context, source, target, control, state, kept }: Verification): Promise<void> {
  const included = tableFilter(context.record.properties.pgflex)
  const { rows: copied } = await control.query<TableName>(
    `select schema_name as schema, table_name as name from pgflex.table_copy where state = 'completed'`,
  )
  const known = new Set(copied.map(tableKey))
  const tables = (await listComparedTables(source)).filter(
    (table) => known.has(tableKey(table)) && included(table.schema, table.name),
  )
  const identified = new Map((await listIdentified(source, tables)).map((one) => [tableKey(one), one.identified]))
  const { whileFollowing } = state.report
  const left: TableName[] = []
  const followed = tables.filter((table) => {
    const reason = table.unlogged
      ? 'it is unlogged, and copied again at the cutover'
      : identified.get(tableKey(table))
        ? undefined
        : 'it has no replica identity, and is copied again at the cutover'
    if (reason !== undefined) {
      whileFollowing!.skipped.push({ table: tableTitle(table), reason })
      left.push(table)
    }
    return reason === undefined
  })
  const queued = followed
    .toSorted((a, b) => a.bytes - b.bytes)
    .map(({ schema, name, bytes }): QueuedTable => ({ schema, name, bytes }))
  const chosen = kept ? await kept.choose(queued, left) : queued
  if (!kept) state.objects = await compareSchemas(source, target, included)
  state.report.tables = chosen.length
  state.tables = chosen
}

/** Compares one range; rows that differ become suspects. */
async function compare({ source, target, state }: Verification, rows: RowsOf): Promise<void> {
  const compared = await compareRange(source, target, rows, state.cursor)
  const { suspects: ids, truncated, next } = compared
  const digests = ids.length === 0 ? new Map<string, string>() : await digestsOf(source, rows, ids)
  const lsn = ids.length === 0 ? '' : await sourceEnd(source)
  // From here on nothing fails: the state is changed as a whole.
  if (state.attempts === 0) state.report.rows += compared.rows
  if (ids.length === 0) {
    moveOn(state, next)
    return
  }
  const again = truncated && state.attempts + 1 < ATTEMPTS
  if (truncated) state.attempts++
  if (truncated && !again) {
    const reason = 'in a part of it more rows differed at every look than are looked at one by one'
    state.report.whileFollowing!.skipped.push({ table: tableTitle(rows.table), reason })
  }
  state.suspects = {
    lsn,
    round: 1,
    rows: ids.map((id) => ({ id, source: digests.get(id) ?? null, strikes: 0 })),
    again,
    ...(next ? { next } : {}),
  }
}

/** One round with suspects. */
async function settle(verification: Verification, rows: RowsOf, suspects: Suspects): Promise<void> {
  const { source, target, state, signal } = verification
  if (!(await targetReaches(verification, parseLsn(suspects.lsn)))) return
  const ids = suspects.rows.map(({ id }) => id)
  const shown = await digestsOf(target, rows, ids)
  const after = await digestsOf(source, rows, ids)
  const lsn = await sourceEnd(source)
  const { lasting, open } = judgeSuspects(suspects.rows, { target: shown, source: after })
  const found = await describeLasting(source, target, rows, lasting, shown)
  if (signal.aborted) return
  if (addRowDifferences(state.report.differences, tableTitle(rows.table), found)) {
    moveOn(state, undefined)
  } else if (open.length > 0 && suspects.round < ROUNDS) {
    state.suspects = { ...suspects, lsn, round: suspects.round + 1, rows: open }
  } else {
    state.report.whileFollowing!.unsettledRows += open.length
    // A range with more suspects than were looked at is compared again.
    if (suspects.again) delete state.suspects
    else moveOn(state, suspects.next)
  }
}

/** Compares the schema for the second time, and says what has come of it all. */
async function finish({ context, source, target, state, kept }: Verification): Promise<void> {
  const { report: result } = state
  const following = result.whileFollowing!
  if (!kept) {
    const now = await compareSchemas(source, target, tableFilter(context.record.properties.pgflex))
    following.objects = lastingObjects(state.objects, now)
  }
  following.endedAt = new Date().toISOString()
  result.result = result.differences.length + following.objects.length === 0 ? 'Equal' : 'Different'
}

/** An LSN of the source after everything that a look at it could see. */
async function sourceEnd(source: Connection): Promise<string> {
  return formatLsn((await new SourceMarks(source).take()).lsn)
}

function skip(state: VerificationState, table: TableName, reason: string): void {
  state.report.whileFollowing!.skipped.push({ table: tableTitle(table), reason })
  moveOn(state, undefined)
}
