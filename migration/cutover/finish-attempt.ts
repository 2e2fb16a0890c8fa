import type { DatabaseContext } from '../context.ts'
import { readEvents } from '../store/migrations.ts'
import type { CutoverSteps } from './cutover-steps.ts'

/** Puts an attempt down as ended, with its downtime: from the freeze to the last step. */
export async function finishAttempt(context: DatabaseContext, steps: CutoverSteps): Promise<void> {
  const [done, lsn] = [await steps.done(), await steps.detail<{ lsn: string }>('take LSN')]
  const endedAt = done.at(-1)!.endedAt!
  const freeze = done.find(({ name }) => name === 'freeze writes') ?? done[0]!
  const downtimeSeconds = (Date.parse(endedAt) - Date.parse(freeze.startedAt)) / 1000
  await context.status((status) => ({
    ...status,
    message: undefined,
    latencySeconds: 0,
    lagBytes: 0,
    cutover: {
      ...status.cutover!,
      endedAt,
      downtimeSeconds,
      ...(lsn ? { endLsn: lsn.lsn } : {}),
      steps: done,
    },
  }))
}

/** Whether an event of this database was told since then: an earlier call may have died before it, or after it. */
export async function isTold(
  { documents, key, database }: DatabaseContext,
  event: string,
  since: string,
): Promise<boolean> {
  return (await readEvents(documents, key)).some(
    (one) => one.event === event && one.database === database && one.at >= since,
  )
}
