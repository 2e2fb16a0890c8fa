import type { QueryResult } from 'pg'
import type { Connection } from '../../connect.ts'
import { checkFence, type Lease } from '../../control/lease.ts'
import { isTransient, MigrationError, sqlState } from '../../errors.ts'
import { formatLsn, type Lsn } from '../../lsn.ts'
import type { ChangeCounts } from './change-counts.ts'
import { copyIn } from './copy-in.ts'
import { PreparedStatements } from './prepared-statements.ts'
import type { Statement } from './statements.ts'
import type { TablePlan } from './table-plan.ts'

/** An UPDATE or DELETE that touched fewer rows than it should have. */
export interface MissedRows {
  plan: TablePlan
  rows: number
  row?: string
}

/** A statement that the target refused, although its session is well. */
export class StatementRefused extends Error {
  readonly statement: Statement | undefined
  override readonly cause: unknown

  constructor(statement: Statement | undefined, cause: unknown) {
    super(refusal(cause))
    this.name = 'StatementRefused'
    this.statement = statement
    this.cause = cause
  }
}

/**
 * The server's message with the SQLSTATE. Of its details only the key of a unique violation: others quote whole
 * rows, which have no place in an error that is stored and shown.
 */
function refusal(cause: unknown): string {
  const { message, detail, code } = cause as { message: string; detail?: string; code?: string }
  return `${message}${detail?.startsWith('Key (') === true ? ` ${detail}` : ''} (SQLSTATE ${code})`
}

interface Sent {
  statement?: Statement
  result: Promise<QueryResult>
}

export interface Written {
  /** Rows that were not there, once all statements of the part have been answered. */
  checked: Promise<MissedRows[]>
  /** All that has been committed so far is on the target's disk, or {@link StatementRefused}. */
  durable: Promise<void>
}

/** How far the group moves the progress row. */
export interface GroupEnd {
  endLsn: Lsn
  counts: ChangeCounts
}

/**
 * Target transactions, one after the other on one session. A group of source transactions is written in one or
 * several parts, and becomes visible as a whole together with the progress row.
 *
 * Statements go out without waiting for each other's results; the commit goes out when every result is in and
 * has been checked, and the commit before is done.
 */
export class TargetTransaction {
  readonly #session: Connection
  readonly #lease: Lease
  readonly #slot: string
  readonly #prepared: PreparedStatements
  #open = false
  #missed = 0
  /** The last commit that was sent; what comes next is sent behind it, and committed when it is done. */
  #committing: Promise<void> = Promise.resolve()
  /** The last part, as long as its results are not in. */
  #unchecked: Promise<unknown> | undefined
  /** The data of the last COPY has been handed to the socket. */
  #handedOver: Promise<void> = Promise.resolve()
  /** Why nothing more may be sent. */
  #broken: { error: unknown } | undefined
  /** Definitions of tables have been changed, and that is not committed. */
  altered = false

  /** @param session prepared by prepareApplySession, and used for nothing else */
  constructor(session: Connection, lease: Lease, slot: string) {
    this.#session = session
    this.#prepared = PreparedStatements.of(session)
    this.#lease = lease
    this.#slot = slot
  }

  /**
   * Writes a part, and waits until the part before has been checked; so the target has one part to work on while the
   * next one is sent. With an end, this part is checked as well and the commit is sent, which is not waited for: the next
   * group may be sent while the target's disk is busy with this one.
   *
   * @throws {StatementRefused} nothing of the group has been written
   * @throws {MigrationError} LeaseLost, ProgressConflict
   */
  async write(statements: readonly Statement[], end?: GroupEnd): Promise<Written> {
    const sent: Sent[] = []
    const failed = new AbortController()
    const send = (result: Promise<QueryResult>, statement?: Statement): void => {
      result.catch(() => failed.abort())
      sent.push({ result, ...(statement ? { statement } : {}) })
    }
    if (!this.#open) {
      this.#missed = 0
      this.#open = true
      // A unique constraint that may be broken inside a transaction of the source may be broken inside ours.
      send(this.#session.query('begin; set constraints all deferred'))
    }
    for (const statement of statements) {
      // What follows a failure fails as well; behind a refused commit it would even succeed.
      if (failed.signal.aborted || this.#broken) break
      const { sql, params, copy } = statement
      if (copy) {
        const { result, sent: handedOver } = copyIn(this.#session, sql, copy)
        send(result, statement)
        this.#handedOver = handedOver
        await handedOver
      } else send(params.length > 0 ? this.#prepared.query(sql, params) : this.#session.query(sql), statement)
    }
    const isWhole = !failed.signal.aborted && !this.#broken
    // The fence last: it holds the lease's row until the commit, and a group may take long.
    const ending = end && isWhole ? [this.#moveProgress(end), checkFence(this.#session, this.#lease)] : []
    const ended = Promise.allSettled(ending)
    const before = this.#unchecked
    const checked = this.#check(sent)
    checked.catch(() => {})
    this.#unchecked = checked
    await before
    if (!isWhole) {
      await checked
      await this.#committing
      // Never commits, or calls written, what was not sent.
      throw this.#broken!.error
    }
    if (!end) return { checked, durable: this.#committing }
    await checked
    this.#unchecked = undefined
    for (const result of await ended) {
      if (result.status === 'rejected') throw await this.#refuse(undefined, result.reason)
    }
    await this.#committing
    if (this.#broken) throw this.#broken.error
    this.#committing = this.#commit()
    this.#committing.catch(() => {})
    return { checked, durable: this.#committing }
  }

  /** Waits for results. @returns rows that were not there @throws {StatementRefused} */
  async #check(sent: readonly Sent[]): Promise<MissedRows[]> {
    const results = await Promise.allSettled(sent.map(({ result }) => result))
    const missed: MissedRows[] = []
    for (const [i, result] of results.entries()) {
      const { statement } = sent[i]!
      if (result.status === 'rejected') throw await this.#refuse(statement, result.reason)
      if (statement) missed.push(...this.#checkRows(statement, result.value.rowCount ?? 0))
    }
    return missed
  }

  /**
   * Changes definitions in the open transaction: DDL is transactional, and commits with the rows and the progress.
   *
   * @throws {StatementRefused}
   */
  async alter(statements: readonly Statement[]): Promise<void> {
    await this.#committing
    // What refuses a row is not to be taken for what refuses the definition.
    await this.#unchecked
    this.altered = true
    const { checked } = await this.write(statements)
    await checked
  }

  /** Changes definitions in a transaction of its own, at a place where nothing is under way. */
  async alterAlone(statements: readonly Statement[]): Promise<void> {
    try {
      await this.alter(statements)
    } catch (error) {
      // It is rolled back, and nothing was sent behind it.
      if (error instanceof StatementRefused) this.#broken = undefined
      throw error
    }
    await checkFence(this.#session, this.#lease)
    await this.#session.query('commit')
    this.#open = false
    this.altered = false
  }

  async rollback(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    this.altered = false
    this.#unchecked = undefined
    // A query between the data of a COPY ends the session: the refused commit is known while the next group is sent.
    await this.#handedOver.catch(() => {})
    await this.#session.query('rollback')
  }

  #checkRows({ plan, kind, expected, row }: Statement, touched: number): MissedRows[] {
    if (!plan || kind === 'truncate' || touched === expected) return []
    if (touched > expected || kind === 'insert') {
      throw new MigrationError(
        'RowCountMismatch',
        `A change of ${expected} rows of ${plan.schema}.${plan.table} touched ${touched} rows on the target${row === undefined ? '' : ` (${row()})`}.`,
        {
          hint: 'Its replica identity is not unique on the target; see that the primary key or unique index exists there.',
          target: 'target',
        },
      )
    }
    this.#missed += expected - touched
    return [{ plan, rows: expected - touched, ...(row === undefined ? {} : { row: row() }) }]
  }

  async #moveProgress({ endLsn, counts }: GroupEnd): Promise<void> {
    const { rowCount } = await this.#prepared.query(
      `update pgflex.progress
          set applied_lsn = $2, inserts = inserts + $3, updates = updates + $4, deletes = deletes + $5,
              truncates = truncates + $6, transactions = transactions + $7
        where slot = $1 and applied_lsn < $2`,
      [
        this.#slot,
        formatLsn(endLsn),
        counts.inserts,
        counts.updates,
        counts.deletes,
        counts.truncates,
        counts.transactions,
      ],
    )
    if (rowCount === 1) return
    throw new MigrationError(
      'ProgressConflict',
      `The progress of ${this.#slot} is not before ${formatLsn(endLsn)}: these changes have been applied already.`,
      { retryable: true },
    )
  }

  async #commit(): Promise<void> {
    const session = this.#session
    const counted =
      this.#missed > 0
        ? session.query('update pgflex.progress set missed = missed + $2 where slot = $1', [this.#slot, this.#missed])
        : undefined
    counted?.catch(() => {})
    const committed = session.query('commit')
    // Where the count fails, this fails with nobody waiting for it.
    committed.catch(() => {})
    this.#open = false
    try {
      await counted
      const { command } = await committed
      if (command !== 'COMMIT') throw new Error(`The target answered COMMIT with ${command}.`)
    } catch (error) {
      this.#broken = { error }
      // Deferred constraints are checked here.
      throw await this.#refuse(undefined, error)
    }
    this.altered = false
  }

  /** Tells a refused statement, after which the session goes on, from a broken session. */
  async #refuse(statement: Statement | undefined, cause: unknown): Promise<unknown> {
    this.#broken ??= { error: cause }
    if (sqlState(cause) === undefined || isTransient(cause)) return cause
    await this.rollback()
    return new StatementRefused(statement, cause)
  }
}
