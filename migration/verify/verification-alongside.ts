import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease } from '../control/lease.ts'
import { isAsked, type MigrationRecord } from '../model/record.ts'
import { updateRecord } from '../store/migrations.ts'
import { readVerification } from './verification-state.ts'
import { verificationFailure, verifyWhileFollowing } from './verify-while-following.ts'

/**
 * The comparison that runs beside a replication slice, if the user has asked for one. It ends with the slice and goes
 * on in the next one. Whatever happens to it, the slice is not touched.
 */
export class VerificationAlongside implements AsyncDisposable {
  readonly #context: DatabaseContext
  readonly #stop = new AbortController()
  #work: Promise<void> | undefined

  constructor(context: DatabaseContext) {
    this.#context = context
  }

  /** Begins if it is asked for and not at work. */
  start(record: MigrationRecord): void {
    const { database, log } = this.#context
    if (this.#work || this.#stop.signal.aborted || !isAsked(record, 'verify', database)) return
    this.#work = verify(this.#context, record.requests.verify![database]!.at, this.#stop.signal).catch(
      (error: unknown) => {
        // It is tried again in the next slice.
        if (this.#stop.signal.aborted) return
        log.warn('The comparison was interrupted', { database, error: verificationFailure(error) })
      },
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#work
  }
}

async function verify(context: DatabaseContext, requestedAt: string, signal: AbortSignal): Promise<void> {
  await using leaseSession = await context.target('verify lease')
  await using lease = await acquireLease(leaseSession, 'verify')
  // Another copy of this slice compares.
  if (!lease) return
  await using control = await context.target('verify control')
  // Found frozen, it stores nothing more.
  await lease.addSession(control)
  await using source = await context.source('verify')
  await using target = await context.target('verify')
  const stop = AbortSignal.any([signal, context.draining, lease.lost])
  // A statement under way is not waited for: the end of the slice, which may be a cutover, would wait with it.
  const cut = (): void => [source, target].forEach((side: Connection) => void side.end().catch(() => {}))
  stop.addEventListener('abort', cut)
  try {
    if (stop.aborted) return
    const state = await readVerification(control, requestedAt)
    if (!(await verifyWhileFollowing({ context, source, target, control, signal: stop, state }))) return
    const { result, differences, whileFollowing } = state.report
    const [tables, objects] = [differences.length, whileFollowing!.objects.length]
    // Repeated after a crash in between: the state says that all is done.
    await context.event({
      level: result === 'Equal' ? 'info' : 'warning',
      event: 'Verified',
      message:
        result === 'Equal'
          ? `The comparison found ${state.report.rows} rows of ${state.report.tables} tables equal.`
          : `The comparison found lasting differences in ${tables} tables, and ${objects} objects that are not the same on both sides.`,
    })
    await forgetRequest(context, requestedAt)
    await control.query('delete from pgflex.verification where requested_at = $1', [requestedAt])
  } finally {
    stop.removeEventListener('abort', cut)
  }
}

/** A request that has come since is another one. */
async function forgetRequest(context: DatabaseContext, requestedAt: string): Promise<void> {
  await updateRecord(context.documents, context.key, (record) => {
    const { [context.database]: request, ...verifications } = record.requests.verify ?? {}
    if (request?.at !== requestedAt) return record
    return { ...record, requests: { ...record.requests, verify: verifications } }
  })
}
