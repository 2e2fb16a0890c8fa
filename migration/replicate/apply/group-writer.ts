import type { Lsn } from '../../lsn.ts'
import { noChanges, sum, total, type ChangeCounts } from './change-counts.ts'
import type { ChangeGroup } from './change-group.ts'
import type { GroupEnd, MissedRows, TargetTransaction } from './target-transaction.ts'

export interface GroupWriterOptions {
  transaction: Pick<TargetTransaction, 'write'>
  onMissed: (missed: MissedRows) => void
  /** Everything that the source committed before it is durable on the target. */
  onReached: (lsn: Lsn) => void
  /** Something has been done, or has failed. */
  onProgress: () => void
}

/** A group, or a part of a large transaction, on its way to the target. */
interface Writing {
  /** Until it is on the target, if only in its memory; then, until it is durable. It never fails. */
  done: Promise<void>
  /** Commit time on the source of its oldest transaction, ms. */
  oldestCommit: number | undefined
  tailLsn: Lsn | undefined
}

/** Writes groups one behind the other: one may be sent while the one before is being committed. */
export class GroupWriter {
  readonly #options: GroupWriterOptions
  /** Row changes that are durable. */
  applied = noChanges()
  /** What the parts of a large transaction have written so far, in the open target transaction. */
  #parts: { counts: ChangeCounts; oldestCommit: number | undefined } | undefined
  #writing: Writing | undefined
  /** Its commit has been sent. */
  #committing: Writing | undefined
  #failure: { error: unknown } | undefined

  constructor(options: GroupWriterOptions) {
    this.#options = options
  }

  /** The target is busy with statements. */
  get isWriting(): boolean {
    return this.#writing !== undefined
  }

  get isIdle(): boolean {
    return !this.#writing && !this.#committing && !this.#parts
  }

  /** Parts of a large transaction are written, and their end is not. */
  get hasParts(): boolean {
    return this.#parts !== undefined
  }

  /** Row changes in those parts. */
  get pendingChanges(): number {
    return this.#parts ? total(this.#parts.counts) : 0
  }

  /** Commit time on the source of the oldest transaction that is handed over and not yet durable, ms. */
  get oldestCommit(): number | undefined {
    return this.#committing?.oldestCommit ?? this.#writing?.oldestCommit ?? this.#parts?.oldestCommit
  }

  /** Nothing up to this place is left to be done but what is under way. @returns false when nothing is */
  passed(lsn: Lsn): boolean {
    const last = this.#writing ?? this.#committing
    if (last) last.tailLsn = lsn
    return last !== undefined
  }

  /** Hands a group over as soon as the target has the one before. @param commit it ends with the end of a transaction */
  async write(group: ChangeGroup, commit: boolean): Promise<void> {
    const { transaction, onMissed, onProgress } = this.#options
    // Building the statements is our part of the work: it is done while the target is busy with its own.
    const statements = group.take()
    const counts = this.#parts ? sum(this.#parts.counts, group.counts) : group.counts
    const oldestCommit = this.#parts?.oldestCommit ?? group.oldestCommit
    this.#parts = commit ? undefined : { counts, oldestCommit }
    await this.#handedOver()
    const end = commit ? { endLsn: group.endLsn!, counts } : undefined
    const writing: Writing = { done: Promise.resolve(), oldestCommit, tailLsn: group.tailLsn }
    const fail = (error: unknown): void => {
      this.#failure ??= { error }
      onProgress()
    }
    writing.done = transaction.write(statements, end).then(({ checked, durable }) => {
      this.#writing = undefined
      checked.then((missed) => missed.forEach((rows) => onMissed(rows)), fail)
      if (end) this.#commitSent(writing, end, durable.catch(fail))
      // What has been collected in the meantime may go.
      onProgress()
    }, fail)
    this.#writing = writing
  }

  /** Waits until all that has been handed over is durable. @throws what has become of it */
  async settled(): Promise<void> {
    await this.#handedOver()
    await this.#committing?.done
    this.throwFailure()
  }

  throwFailure(): void {
    if (this.#failure) throw this.#failure.error
  }

  async #handedOver(): Promise<void> {
    await this.#writing?.done
    this.throwFailure()
  }

  #commitSent(writing: Writing, { endLsn, counts }: GroupEnd, durable: Promise<void>): void {
    this.#committing = writing
    writing.done = durable.then(() => {
      if (this.#failure) return
      if (this.#committing === writing) this.#committing = undefined
      this.applied = sum(this.applied, counts)
      this.#options.onReached(writing.tailLsn ?? endLsn)
      this.#options.onProgress()
    })
  }
}
