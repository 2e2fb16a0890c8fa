import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { isStepDone, markStepDone } from '../control/control-schema.ts'
import type { CutoverReport } from '../model/status.ts'

const PREFIX = 'cutover:'

/** The steps of one cutover: each runs until it is recorded as done, and is not run again after that. */
export interface CutoverSteps {
  run(name: string, work: () => Promise<unknown>): Promise<void>
  isDone(name: string): Promise<boolean>
  /** What a step recorded, or undefined when it is not done. */
  detail<T>(name: string): Promise<T | undefined>
  /** Forgets all steps: the cutover was called off. */
  forget(): Promise<void>
}

export function cutoverSteps(context: DatabaseContext, target: Connection): CutoverSteps {
  const isDone = (name: string): Promise<boolean> => isStepDone(target, PREFIX + name)
  return {
    isDone,
    async run(name, work) {
      if (await isDone(name)) return
      const startedAt = new Date().toISOString()
      const detail = await work()
      await markStepDone(target, PREFIX + name, detail ?? {})
      const step = { name, startedAt, endedAt: new Date().toISOString() }
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
        PREFIX + name,
      ])
      return rows[0] && (JSON.parse(rows[0].detail) as T)
    },
    async forget() {
      await target.query(`delete from pgflex.step where name like $1 || '%'`, [PREFIX])
    },
  }
}
