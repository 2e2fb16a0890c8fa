import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { leaseLost, type Lease } from '../control/lease.ts'
import { errorText } from '../errors.ts'
import type { CutoverReport } from '../model/status.ts'

/** In their order. Which of them there are depends on the migration; the last one is that of a switch back. */
export const CUTOVER_STEPS = [
  'prepare way back',
  'check objects',
  'catch up',
  'freeze writes',
  'take LSN',
  'check tables',
  'drain',
  'unfollowed tables',
  'large objects',
  'extension tables',
  'sequences',
  'compare',
  'check for late writes',
  'begin way back',
  'triggers and constraints',
  'let writes in',
] as const

export type CutoverStep = (typeof CUTOVER_STEPS)[number]

/** The steps of one attempt to cut over: each runs until it is recorded as done, and is not run again after that. */
export interface CutoverSteps {
  /** Names the attempt. */
  attempt: string
  run(name: CutoverStep, work: () => Promise<unknown>): Promise<void>
  /** What a step recorded, or undefined when it is not done. */
  detail<T>(name: CutoverStep): Promise<T | undefined>
  /** All that are done, in order, those of earlier calls among them. */
  done(): Promise<CutoverReport['steps']>
  /** Waits until the status tells of all that are done. */
  told(): Promise<void>
}

/** What is recorded of a step. */
interface StepRecord {
  startedAt: string
  endedAt: string
  detail: unknown
}

/**
 * The truth is in the control schema. The status tells of it a moment later: nobody waits for that while
 * applications wait.
 *
 * @param attempt names the attempt: one that was called off leaves nothing that counts for the next one
 * @param lease the cutover's; a step is begun and recorded only while it is held
 */
export function cutoverSteps(
  context: DatabaseContext,
  target: Connection,
  lease: Lease,
  attempt: string,
): CutoverSteps {
  const prefix = `cutover ${attempt}: `
  let records: Promise<Map<string, StepRecord>> | undefined
  // Nobody else records steps of this attempt while we hold the lease.
  const known = (): Promise<Map<string, StepRecord>> => (records ??= readRecords(target, prefix))
  const done = async (): Promise<CutoverReport['steps']> =>
    [...(await known())].map(([name, { startedAt, endedAt, detail }]) => {
      const { message } = detail as { message?: string }
      return { name, startedAt, endedAt, ...(message === undefined ? {} : { message }) }
    })

  let telling: Promise<void> | undefined
  // An earlier call may have died before it had told.
  let isTold = false
  async function tell(): Promise<void> {
    while (!isTold) {
      isTold = true
      const steps = await done()
      const end = (await known()).get('take LSN')?.detail as { lsn: string } | undefined
      await context.status((status) =>
        // Called off meanwhile, it must not come back: the next attempt would take its steps as done.
        status.cutover?.startedAt === attempt
          ? { ...status, cutover: { ...status.cutover, ...(end ? { endLsn: end.lsn } : {}), steps } }
          : status,
      )
    }
  }
  /** What cannot be shown is no reason to stop. */
  function startTelling(): Promise<void> {
    telling ??= tell()
      .catch((error: unknown) => {
        isTold = false
        context.log.warn('The steps of the cutover could not be shown', {
          database: context.database,
          error: errorText(error),
        })
      })
      .finally(() => (telling = undefined))
    return telling
  }

  return {
    attempt,
    done,
    async run(name, work) {
      context.draining.throwIfAborted()
      lease.lost.throwIfAborted()
      if ((await known()).has(name)) return
      const startedAt = new Date().toISOString()
      const detail = (await work()) ?? {}
      const step = { startedAt, endedAt: new Date().toISOString(), detail }
      await record(target, lease, prefix + name, step)
      ;(await known()).set(name, step)
      isTold = false
      void startTelling()
    },
    async detail<T>(name: CutoverStep) {
      return (await known()).get(name)?.detail as T | undefined
    },
    async told() {
      await telling
      if (!isTold) await startTelling()
    },
  }
}

async function readRecords(target: Connection, prefix: string): Promise<Map<string, StepRecord>> {
  const { rows } = await target.query<{ name: string; detail: string }>(
    `select substr(name, length($1) + 1) as name, detail
       from pgflex.step
      where left(name, length($1)) = $1
      order by finished_at`,
    [prefix],
  )
  return new Map(rows.map(({ name, detail }) => [name, JSON.parse(detail) as StepRecord]))
}

/** The fence is checked as checkFence() does it, in the statement that records: one answer to wait for instead of four. */
async function record(target: Connection, lease: Lease, name: string, step: StepRecord): Promise<void> {
  const { rows } = await target.query<{ held: string }>(
    `with held as materialized (select from pgflex.lease where name = $1 and fence = $2 for key share),
          recorded as (
            insert into pgflex.step (name, detail) select $3, $4::jsonb from held on conflict (name) do nothing)
     select count(*) as held from held`,
    [lease.name, lease.fence, name, JSON.stringify(step)],
  )
  if (rows[0]!.held !== '1') throw leaseLost(lease.name)
}
