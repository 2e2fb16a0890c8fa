import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease } from '../control/lease.ts'
import { isAsked, type MigrationRecord } from '../model/record.ts'
import { canCutOver } from '../status.ts'
import { readDatabaseStatus, updateRecord } from '../store/migrations.ts'
import { BACKGROUND, compareInBackground, isBackgroundDue } from './background-comparison.ts'
import {
  findVerification,
  forgetOthers,
  forgetVerification,
  newVerification,
  type VerificationState,
} from './verification-state.ts'
import { verificationFailure, verifyWhileFollowing, type Verification } from './verify-while-following.ts'

/** What a comparison works with, whichever it is. */
type Sessions = Omit<Verification, 'state' | 'rest' | 'kept'>

/** Pause of a comparison that somebody waits for, in parts of the time of its work: half of the time. */
const REST = 1

interface Work {
  /** When the user asked for it; of the one in the background nothing. */
  requestedAt: string | undefined
  stop: AbortController
  ended: boolean
}

/**
 * The comparison that runs beside a replication slice: the one that the user has asked for, else, where the cutover is to
 * compare contents, the one in the background. It ends with the slice and goes on in the next one. Whatever happens to
 * it, the slice is not touched.
 */
export class VerificationAlongside implements AsyncDisposable {
  readonly #context: DatabaseContext
  #work: Work | undefined
  #done: Promise<void> = Promise.resolve()
  #isOver = false
  /** Looks for work in the background once in a slice. */
  #looked = false

  constructor(context: DatabaseContext) {
    this.#context = context
  }

  /** Begins what is to be done, if nothing is at work. */
  start(record: MigrationRecord): void {
    const { database } = this.#context
    if (this.#isOver) return
    const asked = isAsked(record, 'verify', database) ? record.requests.verify![database]!.at : undefined
    if (this.#work && !this.#work.ended) {
      // Nobody waits for the one in the background; it goes on later.
      if (asked !== undefined && this.#work.requestedAt === undefined) this.#work.stop.abort()
      return
    }
    if (asked !== undefined) {
      // What was interrupted is tried again in the next slice.
      if (this.#work?.requestedAt !== asked) this.#begin(asked)
    } else if (!this.#looked && record.properties.pgflex.verify === 'Checksums') {
      this.#looked = true
      void this.#beginCaughtUp(record)
    }
  }

  /** As long as the target is far behind, all would differ. */
  async #beginCaughtUp(record: MigrationRecord): Promise<void> {
    const { documents, key, database } = this.#context
    const status = await readDatabaseStatus(documents, key, database).catch(() => undefined)
    if (!status || !canCutOver(record, status)) this.#looked = false
    else if (!this.#isOver && (!this.#work || this.#work.ended)) this.#begin(undefined)
  }

  #begin(requestedAt: string | undefined): void {
    const { database, log } = this.#context
    const work: Work = { requestedAt, stop: new AbortController(), ended: false }
    this.#work = work
    const isDue = requestedAt === undefined ? isBackgroundDue : () => Promise.resolve(true)
    this.#done = alongside(this.#context, work.stop.signal, isDue, (sessions) =>
      requestedAt === undefined ? compareAll(sessions) : compareOnDemand(sessions, requestedAt),
    )
      .catch((error: unknown) => {
        if (work.stop.signal.aborted) return
        log.warn('The comparison was interrupted', { database, error: verificationFailure(error) })
      })
      .finally(() => {
        work.ended = true
      })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    this.#work?.stop.abort()
    await this.#done
  }
}

/** Opens the sessions of a comparison, and cuts them when it is to stop. */
async function alongside(
  context: DatabaseContext,
  signal: AbortSignal,
  isDue: (context: DatabaseContext, control: Connection) => Promise<boolean>,
  work: (sessions: Sessions) => Promise<void>,
): Promise<void> {
  await using leaseSession = await context.target('verify lease')
  await using lease = await acquireLease(leaseSession, 'verify')
  // Another copy of this slice compares.
  if (!lease) return
  await using control = await context.target('verify control')
  // Found frozen, it stores nothing more.
  await lease.addSession(control)
  if (!(await isDue(context, control))) return
  await using source = await context.source('verify')
  await using target = await context.target('verify')
  const stop = AbortSignal.any([signal, context.draining, lease.lost])
  // A statement under way is not waited for: the end of the slice, which may be a cutover, would wait with it.
  const cut = (): void => [source, target].forEach((side: Connection) => void side.end().catch(() => {}))
  stop.addEventListener('abort', cut)
  try {
    if (!stop.aborted) await work({ context, source, target, control, signal: stop })
  } finally {
    stop.removeEventListener('abort', cut)
  }
}

async function compareOnDemand(sessions: Sessions, requestedAt: string): Promise<void> {
  const { context, control } = sessions
  await forgetOthers(control, [requestedAt, BACKGROUND])
  const state = (await findVerification(control, requestedAt)) ?? newVerification(requestedAt)
  if (!(await verifyWhileFollowing({ ...sessions, state, rest: REST }))) return
  // Repeated after a crash in between: the state says that all is done.
  await tell(context, state)
  await forgetRequest(context, requestedAt)
  await forgetVerification(control, requestedAt)
}

async function compareAll(sessions: Sessions): Promise<void> {
  const { context, control } = sessions
  const ended = await compareInBackground(sessions)
  if (!ended) return
  await context.status({ verification: ended.report })
  await tell(context, ended)
  await forgetVerification(control, BACKGROUND)
}

async function tell(context: DatabaseContext, { report }: VerificationState): Promise<void> {
  const { result, differences, whileFollowing } = report
  const [tables, objects] = [differences.length, whileFollowing!.objects.length]
  await context.event({
    level: result === 'Equal' ? 'info' : 'warning',
    event: 'Verified',
    message:
      result === 'Equal'
        ? `The comparison found ${report.rows} rows of ${report.tables} tables equal.`
        : `The comparison found lasting differences in ${tables} tables, and ${objects} objects that are not the same on both sides.`,
  })
}

/** A request that has come since is another one. */
async function forgetRequest(context: DatabaseContext, requestedAt: string): Promise<void> {
  await updateRecord(context.documents, context.key, (record) => {
    const { [context.database]: request, ...verifications } = record.requests.verify ?? {}
    if (request?.at !== requestedAt) return record
    return { ...record, requests: { ...record.requests, verify: verifications } }
  })
}
