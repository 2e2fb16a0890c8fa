import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { sqlState } from '../errors.ts'
import { readIndexWidth } from './index-width.ts'
import { runStatements, type StatementRules } from './run-statements.ts'
import { throwIfLost, type SchemaSessions } from './schema-session.ts'
import type { PlannedStatement } from './statements.ts'

/**
 * Looks for more to do cost a twentieth of the time, whatever their cost (1 ms with one table, some 30 ms with
 * 10,000): what is ready waits no longer than it has to, ms.
 */
const LOOK_SHARE = 20
const LOOK_AGAIN_MS = { least: 50, most: 1000 }

/**
 * Runs transactions of post-data over several sessions, those in front first, until there are no more. The first
 * error that is not a statement's own stops them all. When the host stops, what runs is ended and the rest is left.
 *
 * @param look what is new to do, and whether more may come later; it is asked again and again until none may
 */
export async function runParallel(
  context: DatabaseContext,
  main: Connection,
  sessions: SchemaSessions,
  rules: StatementRules,
  look: () => Promise<{ transactions: PlannedStatement[][]; more: boolean }>,
): Promise<void> {
  const { jobs, maintenanceWorkMemKb } = await readIndexWidth(context, main)
  const queue: PlannedStatement[][] = []
  const idle: Connection[] = []
  const running = new Set<Promise<void>>()
  let opened = 0
  const open = async (): Promise<Connection> => {
    opened++
    const session = await sessions.open()
    await session.query(`set maintenance_work_mem = ${maintenanceWorkMemKb}`)
    return session
  }
  try {
    for (let more = true; !context.draining.aborted;) {
      let pauseMs = 0
      if (more) {
        const began = performance.now()
        const found = await look()
        pauseMs = Math.min(Math.max((performance.now() - began) * LOOK_SHARE, LOOK_AGAIN_MS.least), LOOK_AGAIN_MS.most)
        queue.push(...found.transactions)
        more = found.more
      }
      while (queue.length > 0 && (idle.length > 0 || opened < jobs)) {
        const session = idle.pop() ?? (await open())
        const run = runBatch(session, sessions, queue.shift()!, rules).then(() => {
          running.delete(run)
          idle.push(session)
        })
        // One that fails stays in the set, where it is found below; until then it is not unhandled.
        run.catch(() => {})
        running.add(run)
      }
      if (running.size === 0 && !more) return
      const pause = more ? [sleep(pauseMs, undefined, { signal: context.draining }).catch(() => {})] : []
      await Promise.race([...running, ...pause])
    }
  } finally {
    await Promise.allSettled(running)
  }
}

/** A deadlock among our own sessions is over when one of them tries again. */
const DEADLOCK_TRIES = 5

export async function runBatch(
  session: Connection,
  { lease }: SchemaSessions,
  batch: PlannedStatement[],
  rules: StatementRules,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    throwIfLost(lease)
    try {
      await runStatements(session, lease, 'post-data', batch, rules)
      return
    } catch (error) {
      if (sqlState(error) !== '40P01' || attempt === DEADLOCK_TRIES) throw error
    }
  }
}
