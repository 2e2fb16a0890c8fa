import { formatLsn, type Lsn } from '../lsn.ts'
import { pause } from '../replicate/slice-report.ts'
import { sourceObjects } from '../replicate/slot-name.ts'
import type { Verification } from './verify-while-following.ts'

/** ms between two looks at where the target is. */
const POSITION_MS = 100

/**
 * Waits until everything that the source committed before an LSN is on the target.
 *
 * @returns false when it was told to stop before
 */
export async function targetReaches(
  { context, control, signal }: Pick<Verification, 'context' | 'control' | 'signal'>,
  lsn: Lsn,
): Promise<boolean> {
  const { slot } = sourceObjects(context.key, context.database)
  while (!signal.aborted) {
    const { rows } = await control.query<{ reached: string }>(
      // An idle database comes to new places without commits of its own: these are in pgflex.source.
      `select greatest(p.applied_lsn, s.acknowledged_lsn) >= $2::pg_lsn as reached
         from pgflex.progress p
         left join pgflex.source s using (slot)
        where slot = $1`,
      [slot, formatLsn(lsn)],
    )
    if (rows[0]?.reached === 't') return true
    await pause(POSITION_MS, signal)
  }
  return false
}
