import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import type { Lease } from '../control/lease.ts'
import { copyUnfollowedTables } from '../load/copy-unfollowed-tables.ts'
import type { CutoverSteps } from './cutover-steps.ts'

const STEP = 'unfollowed tables'
const MARK = 'create unlogged table if not exists pgflex.unlogged_copy (attempt text primary key)'

/**
 * Copies the tables that are not followed, and marks that in a table which is unlogged as well: a crash of the target
 * empties both, and so does a failover. https://www.postgresql.org/docs/current/sql-createtable.html#SQL-CREATETABLE-UNLOGGED
 *
 * @param target a session from before the copy: it does not outlive a crash
 */
export async function fillUnfollowedTables(
  context: DatabaseContext,
  steps: CutoverSteps,
  lease: Lease,
  target: Connection,
): Promise<void> {
  await steps.run(STEP, () => fill(context, steps.attempt, lease, target))
}

/** Copies them again when the target has crashed since: the source still has what was in them. */
export async function refillUnloggedTables(
  context: DatabaseContext,
  steps: CutoverSteps,
  lease: Lease,
  target: Connection,
): Promise<void> {
  const filled = await steps.detail<{ tables: number }>(STEP)
  if (filled === undefined || filled.tables === 0) return
  await target.query(MARK)
  const { rows } = await target.query('select from pgflex.unlogged_copy where attempt = $1', [steps.attempt])
  if (rows.length > 0) return
  await fill(context, steps.attempt, lease, target)
  await context.event({
    level: 'warning',
    event: 'UnloggedTablesCopiedAgain',
    message: `The target crashed in the cutover, which empties unlogged tables: those of "${context.database}" were copied again.`,
  })
}

async function fill(
  context: DatabaseContext,
  attempt: string,
  lease: Lease,
  target: Connection,
): Promise<{ tables: number; rows: number }> {
  const copied = await copyUnfollowedTables(context, lease)
  if (copied.tables > 0) {
    await target.query(MARK)
    await target.query('insert into pgflex.unlogged_copy values ($1) on conflict do nothing', [attempt])
  }
  return copied
}
