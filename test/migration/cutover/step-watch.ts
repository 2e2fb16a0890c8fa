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
 * Looks at the statements of a cutover on both sides, knows from those on pgflex.step which step they belong to, and
 * stops one at a moment that the test chooses.
 */
export class StepWatch {
  /** The statements of each step that has begun, in order. */
  readonly statements = new Map<string, StepStatement[]>()
  readonly #database: string
  #step: string | undefined
  #recording: { connection: number; step: string } | undefined
  #stop: { step: string; moment: Moment; at: StepStatement | undefined; reached: () => void } | undefined

  constructor(database: string) {
    this.#database = database
  }

  #pattern: { side: Side; sql: RegExp; reached: () => void } | undefined

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
    const step = side === 'target' ? stepNamed(statement) : undefined
    if (step !== undefined && statement.sql.startsWith('select from pgflex.step')) {
      this.#step = step
      this.statements.set(step, [])
      return this.#reaches(step, 'before') ? 'hold' : 'pass'
    }
    if (step !== undefined && statement.sql.startsWith('insert into pgflex.step')) {
      this.#recording = { connection: statement.connection, step }
      // What was to be stopped inside has not come: it is stopped here at the latest.
      return this.#reaches(step, 'unrecorded') || this.#reaches(step, 'in') ? 'hold' : 'pass'
    }
    if (this.#recording?.connection === statement.connection && side === 'target' && statement.sql === 'commit') {
      const { step: recorded } = this.#recording
      this.#recording = undefined
      this.#step = undefined
      return this.#reaches(recorded, 'recorded') ? 'hold answer' : 'pass'
    }
    return this.#step === undefined ? 'pass' : this.#judgeInside(this.#step, side, statement)
  }

  #judgeInside(step: string, side: Side, { session, sql }: Statement): Verdict {
    const seen = { side, session, sql: sql.replaceAll(this.#database, 'DATABASE') }
    this.statements.get(step)!.push(seen)
    const at = this.#stop?.at
    if (!at || at.side !== side || at.session !== session || at.sql !== seen.sql) return 'pass'
    return this.#reaches(step, 'in') ? 'hold answer' : 'pass'
  }

  #reaches(step: string, moment: Moment): boolean {
    if (this.#stop?.step !== step || this.#stop.moment !== moment) return false
    this.#stop.reached()
    this.#stop = undefined
    return true
  }
}

/** The step of a cutover that a statement names. */
function stepNamed({ parameters }: Statement): string | undefined {
  return /^cutover \S+: (.+)$/.exec(parameters[0] ?? '')?.[1]
}

const WRITES =
  /^\s*(with .*)?(alter|commit|copy|create|delete|drop|insert|refresh|start_replication|truncate|update|.*\b(setval|lo_put|pg_terminate_backend|pg_logical_emit_message)\b)/is

/** Where half of a step is done: its first and its last write, or what stands in its middle when it writes nothing. */
export function insideOf(statements: StepStatement[]): { first: StepStatement; last: StepStatement } {
  const own = statements.filter(({ sql }) => !/pgflex\.(lease|step)|pg_advisory|pg_backend_pid|set_config/.test(sql))
  const middle = own[Math.floor(own.length / 2)]!
  return {
    first: own.find(({ sql }) => WRITES.test(sql)) ?? middle,
    last: own.findLast(({ sql }) => WRITES.test(sql)) ?? middle,
  }
}
