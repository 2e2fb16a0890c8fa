import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { isStepDone, markStepDone } from '../control/control-schema.ts'
import { checkFence, type Lease } from '../control/lease.ts'
import type { CutoverReport } from '../model/status.ts'

/** The steps of one attempt to cut over: each runs until it is recorded as done, and is not run again after that. */
export interface CutoverSteps {
  /** Names the attempt. */
  attempt: string
  run(name: string, work: () => Promise<unknown>): Promise<void>
  /** What a step recorded, or undefined when it is not done. */
  detail<T>(name: string): Promise<T | undefined>
}

/**
 * @param attempt names the attempt: one that was called off leaves nothing that counts for the next one
 * @param lease the cutover's; a step is begun and recorded only while it is held
 */
export function cutoverSteps(
  context: DatabaseContext,
  target: Connection,
  lease: Lease,
  attempt: string,
): CutoverSteps {
  const stepName = (name: string): string => `cutover ${attempt}: ${name}`
  return {
    attempt,
    async run(name, work) {
      context.draining.throwIfAborted()
      lease.lost.throwIfAborted()
      if (await isStepDone(target, stepName(name))) return
      const startedAt = new Date().toISOString()
      const detail = await work()
      await record(target, lease, stepName(name), detail ?? {})
      const { message } = (detail ?? {}) as { message?: string }
      const step = { name, startedAt, endedAt: new Date().toISOString(), ...(message === undefined ? {} : { message }) }
      await context.status((status) => {
        const cutover: CutoverReport = status.cutover ?? { startedAt, steps: [] }
        return {
          ...status,
          cutover: { ...cutover, steps: [...cutover.steps.filter((other) => other.name !== name), step] },
        }
      })
    },
    async detail<T>(name: string) {
      const { rows } = await target.query<{ detail: string }>('select detail from pgflex.step where name = $1', [
        stepName(name),
      ])
      return rows[0] && (JSON.parse(rows[0].detail) as T)
    },
  }
}

async function record(target: Connection, lease: Lease, name: string, detail: unknown): Promise<void> {
  await target.query('begin')
  try {
    await checkFence(target, lease)
    await markStepDone(target, name, detail)
    await target.query('commit')
  } catch (error) {
    await target.query('rollback').catch(() => {})
    throw error
  }
}
