import type { Connection } from '../connect.ts'
import { checkFence, type Lease } from '../control/lease.ts'
import { errorText, isTransient, MigrationError, sqlState } from '../errors.ts'
import type { DumpSection } from './dump.ts'
import { recordOutcomes, type Outcome, type PlannedStatement } from './statements.ts'

/** How a statement of a kind is run where plain execution is not right, and what a failure of it means. */
export interface StatementRules {
  /** A reason not to run a statement at all. */
  skip(statement: PlannedStatement): string | undefined
  /** True when a failure is something to know of, and the object is there nevertheless. */
  isTolerable(statement: PlannedStatement, error: unknown): boolean
  /** Another text to try when the first one has failed. */
  secondTry(statement: PlannedStatement, error: unknown): string | undefined
}

/**
 * Runs statements in one transaction and records what became of each in the same one. They go to the server as
 * one query; only if anything in it fails or draws a warning, they are run again one by one, each in a savepoint.
 *
 * The fence is checked last: it locks the row of the lease, which has to be renewed while a long statement runs.
 *
 * @throws {MigrationError} LeaseLost, and whatever may pass by itself (isTransient): nothing is recorded then
 */
export async function runStatements(
  session: Connection,
  lease: Pick<Lease, 'name' | 'fence'>,
  section: DumpSection,
  statements: PlannedStatement[],
  rules: StatementRules,
): Promise<Outcome[]> {
  const outcomes = new Map<number, Outcome>()
  const runnable: PlannedStatement[] = []
  for (const statement of statements) {
    const message = rules.skip(statement)
    if (message === undefined) runnable.push(statement)
    else outcomes.set(statement.position, { position: statement.position, state: 'skipped', message })
  }
  await session.query('begin')
  try {
    if (await runTogether(session, runnable)) {
      for (const { position } of runnable) outcomes.set(position, { position, state: 'done', message: null })
    } else {
      for (const statement of runnable) outcomes.set(statement.position, await runOne(session, statement, rules))
    }
    const inOrder = statements.map(({ position }) => outcomes.get(position)!)
    await checkFence(session, lease)
    await recordOutcomes(session, section, inOrder)
    await session.query('commit')
    return inOrder
  } catch (error) {
    await session.query('rollback').catch(() => {})
    throw error
  }
}

async function runTogether(session: Connection, statements: PlannedStatement[]): Promise<boolean> {
  if (statements.length === 0) return true
  const script = ['savepoint batch', ...statements.map(({ sql }) => sql)].join(';\n')
  try {
    if ((await runScript(session, script)) === undefined) return true
  } catch (error) {
    if (mustStop(error)) throw error
  }
  await session.query('rollback to savepoint batch')
  return false
}

async function runOne(session: Connection, statement: PlannedStatement, rules: StatementRules): Promise<Outcome> {
  const { position, sql } = statement
  let text = sql
  for (;;) {
    try {
      const warning = await runScript(session, `savepoint statement;\n${text};\nrelease savepoint statement`)
      return { position, state: 'done', message: warning ?? null }
    } catch (error) {
      if (mustStop(error)) throw error
      await session.query('rollback to savepoint statement')
      const again = text === sql ? rules.secondTry(statement, error) : undefined
      if (again === undefined) {
        return {
          position,
          state: rules.isTolerable(statement, error) ? 'skipped' : 'failed',
          message: errorText(error),
        }
      }
      text = again
    }
  }
}

/** Runs a text of several statements; returns what the server warned of. */
async function runScript(session: Connection, script: string): Promise<string | undefined> {
  const warnings: string[] = []
  const listen = ({ severity, message }: { severity?: string | undefined; message?: string | undefined }): void => {
    if (severity === 'WARNING' && message !== undefined) warnings.push(message)
  }
  session.on('notice', listen)
  try {
    await session.query(script)
  } finally {
    session.off('notice', listen)
  }
  return warnings.length === 0 ? undefined : [...new Set(warnings)].join('; ')
}

/** True when the statement is not to blame: the connection is gone, the server stops, a lock was in the way. */
function mustStop(error: unknown): boolean {
  if (error instanceof MigrationError) return true
  // object_in_use is transient for slots; of DDL it says that a cursor or trigger of the session uses the table.
  return (isTransient(error) && sqlState(error) !== '55006') || sqlState(error) === undefined
}
