import { CUTOVER_STEPS, type CutoverStep } from '../../../migration/cutover/cutover-steps.ts'
import type { Side } from '../../../migration/store/secrets.ts'
import type { Statement, Verdict } from '../../support/statement-relay.ts'

/**
 * Where a cutover is stopped: before anything of a step is done; in the middle of it, when a statement is done and
 * its answer not heard; when all of it is done, and not yet recorded; when that is committed, and not yet known.
 */
export type Moment = 'before' | 'in' | 'unrecorded' | 'recorded'

/** A statement of a step, by which it is found again in another run. */
export interface StepStatement {
  side: Side
  session: string
  sql: string
}

/**
 * Looks at the statements of a cutover on both sides, knows from those on pgflex.step which step they belong to (what
 * follows the record of one is of the next), and stops one at a moment that the test chooses.
 */
export class StepWatch {
  /** The statements of each step that has been recorded, in order. */
  readonly statements = new Map<string, StepStatement[]>()
  readonly #database: string
  #attempt: string | undefined
  /** Of the attempt. */
  readonly #recorded = new Set<string>()
  /** Since the last record. */
  #seen: StepStatement[] | undefined
  #stop: { step: string; moment: Moment; at: StepStatement | undefined; reached: () => void } | undefined
  #pattern: { side: Side; sql: RegExp; reached: () => void } | undefined

  constructor(database: string) {
    this.#database = database
  }

  /** Stops the next one that comes there. @returns a promise that is fulfilled when one stands there */
  stopAt(step: string, moment: Moment, at?: StepStatement): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#stop = { step, moment, at, reached: resolve }
    return promise
  }

  /** Stops the next one that wants to do what the pattern says, before it is done. */
  stopAtStatement(side: Side, sql: RegExp): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#pattern = { side, sql, reached: resolve }
    return promise
  }

  judge(side: Side, statement: Statement): Verdict {
    if (this.#pattern?.side === side && this.#pattern.sql.test(statement.sql)) {
      this.#pattern.reached()
      this.#pattern = undefined
      return 'hold'
    }
    if (side === 'target' && /from pgflex\.step\s+where left\(name/.test(statement.sql)) return this.#begin(statement)
    const recorded = side === 'target' ? recordedStep(statement) : undefined
    return recorded === undefined ? this.#judgeInside(side, statement) : this.#judgeRecord(recorded)
  }

  /** A holder of the lease reads what is recorded of its attempt. */
  #begin({ parameters: [attempt] }: Statement): Verdict {
    if (attempt !== this.#attempt) this.#recorded.clear()
    this.#attempt = attempt
    this.#seen = []
    return this.#reaches(this.#current(), 'before') ? 'hold' : 'pass'
  }

  #judgeRecord(step: string): Verdict {
    // What was to be stopped inside has not come: it is stopped here at the latest.
    if (this.#reaches(step, 'unrecorded') || this.#reaches(step, 'in')) return 'hold'
    this.statements.set(step, this.#seen ?? [])
    this.#recorded.add(step)
    this.#seen = []
    // Nothing of the next step is done before it is known that this one is recorded.
    return this.#reaches(step, 'recorded') || this.#reaches(this.#current(), 'before') ? 'hold answer' : 'pass'
  }

  #judgeInside(side: Side, { session, sql }: Statement): Verdict {
    const seen = { side, session, sql: sql.replaceAll(this.#database, 'DATABASE') }
    this.#seen?.push(seen)
    const at = this.#stop?.at
    if (!at || at.side !== side || at.session !== session || at.sql !== seen.sql) return 'pass'
    return this.#reaches(this.#current(), 'in') ? 'hold answer' : 'pass'
  }

  /** The step that is under way; undefined when all are recorded. */
  #current(): string | undefined {
    return STEPS.find((step) => !this.#recorded.has(step))
  }

  #reaches(step: string | undefined, moment: Moment): boolean {
    if (this.#stop?.step !== step || this.#stop?.moment !== moment) return false
    this.#stop.reached()
    this.#stop = undefined
    return true
  }
}

/** Those of an Online cutover with an Automatic freeze and without a way back, which has tests of its own. */
export const STEPS: CutoverStep[] = CUTOVER_STEPS.filter((step) => !/way back/.test(step) && step !== 'let writes in')

/** The step of a cutover that a statement records. */
function recordedStep({ sql, parameters }: Statement): string | undefined {
  if (!sql.includes('insert into pgflex.step')) return undefined
  return parameters.map((parameter) => /^cutover \S+: (.+)$/.exec(parameter)?.[1]).find((step) => step !== undefined)
}

/** Following goes on beside the first steps. */
const BESIDE = /^pgflex (replicate|apply)/
const OF_FOLLOWING = new Set<string>(['catch up', 'drain'])

const WRITES =
  /^\s*(with .*)?(alter|commit|copy|create|delete|drop|insert|refresh|start_replication|truncate|update|.*\b(setval|lo_put|pg_terminate_backend|pg_logical_emit_message)\b)/is

/** Where half of a step is done: its first and its last write, or what stands in its middle when it writes nothing. */
export function insideOf(
  step: string,
  statements: StepStatement[],
): { first: StepStatement; last: StepStatement } | undefined {
  const own = statements.filter(
    ({ session, sql }) =>
      !/pgflex\.(lease|step)|pg_advisory|pg_backend_pid|set_config/.test(sql) &&
      (OF_FOLLOWING.has(step) || !BESIDE.test(session)),
  )
  if (own.length === 0) return undefined
  const middle = own[Math.floor(own.length / 2)]!
  return {
    first: own.find(({ sql }) => WRITES.test(sql)) ?? middle,
    last: own.findLast(({ sql }) => WRITES.test(sql)) ?? middle,
  }
}
