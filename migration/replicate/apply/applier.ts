import type { Lsn } from '../../lsn.ts'
import { protocolViolation } from '../byte-reader.ts'
import type { RowMessage, TruncateMessage } from '../pgoutput-message.ts'
import type { ReplicationStream } from '../replication-stream.ts'
import type { StreamMessage } from '../walsender-messages.ts'
import type { ChangeCounts } from './change-counts.ts'
import { ChangeGroup } from './change-group.ts'
import { ChangeMarks } from './change-marks.ts'
import { GroupWriter } from './group-writer.ts'
import { beginSource, type SourceTransaction } from './source-transaction.ts'
import { expectWidth, type TablePlan } from './table-plan.ts'
import type { TargetTables } from './target-tables.ts'
import type { MissedRows, TargetTransaction } from './target-transaction.ts'

/** Rows of a group, or of a part of a large transaction: some 0.1 s of the target's work beside one commit. */
const GROUP_ROWS = 20_000
/** Bytes of a group as they arrived; one group is collected while another one is written. */
const GROUP_BYTES = 8 * 1024 * 1024
/** ms that a group is collected for while the target has nothing to do. */
const COLLECT_MS = 10

export interface ApplierOptions {
  stream: Pick<ReplicationStream, 'acknowledge' | 'wake'>
  tables: TargetTables
  transaction: Pick<TargetTransaction, 'write'>
  /** Transactions that end at or before it have been applied. */
  appliedLsn: Lsn
  /** Of this stream. */
  marks?: ChangeMarks
  /** A table with changes that is no table of this migration. */
  onIgnored(table: { schema: string; name: string }): void
  onMissed(missed: MissedRows): void
}

/**
 * Turns the messages of a stream into target transactions, and acknowledges what is durable: the end of the
 * last committed group, and where nothing is under way, the place up to which the source has sent.
 *
 * One group is written while the next one is collected.
 */
export class Applier {
  readonly #options: ApplierOptions
  /** Everything that the source committed before it is durable on the target. */
  position: Lsn
  /** End of the last commit that has changed something here; 0 when none has. */
  changedLsn: Lsn = 0n
  #source: SourceTransaction | undefined
  #group = new ChangeGroup()
  /** ms, when the first change of the group came. */
  #collectingSince = 0
  readonly #writer: GroupWriter
  readonly #marks: ChangeMarks

  constructor(options: ApplierOptions) {
    this.#options = options
    this.position = options.appliedLsn
    this.#marks = options.marks ?? new ChangeMarks()
    this.#writer = new GroupWriter({
      transaction: options.transaction,
      onMissed: (missed) => options.onMissed(missed),
      onReached: (lsn) => this.#reached(lsn),
      onProgress: () => options.stream.wake(),
    })
  }

  /** Row changes that have been applied. */
  get applied(): ChangeCounts {
    return this.#writer.applied
  }

  /** No source transaction is half read: the group can be committed. */
  get atBoundary(): boolean {
    return this.#source === undefined
  }

  /** Nothing is collected, written or half read. */
  get isIdle(): boolean {
    return this.atBoundary && !this.#hasChanges && this.#writer.isIdle
  }

  /** Row changes that have been read and are not yet durable. */
  get pendingChanges(): number {
    return this.#group.rows + this.#writer.pendingChanges
  }

  /** Commit time on the source of the oldest transaction that is read and not yet durable, ms. */
  get oldestPendingCommit(): number | undefined {
    const current = this.#source?.changed ? this.#source.commitTime : undefined
    return this.#writer.oldestCommit ?? this.#group.oldestCommit ?? current
  }

  get #hasChanges(): boolean {
    return !this.#group.isEmpty || this.#writer.hasParts
  }

  /**
   * Takes a message. @returns a promise when it has to be waited for before the next one
   *
   * @throws {MigrationError} ProtocolViolation, and what has become of the group that was being written
   */
  handle(message: StreamMessage): Promise<void> | undefined {
    // Of the rest, what is not asked for is not listed: see default.
    // oxlint-disable-next-line typescript/switch-exhaustiveness-check
    switch (message.kind) {
      case 'insert':
      case 'update':
      case 'delete': {
        const plan = this.#options.tables.known(message.relation)
        return plan === undefined ? this.#unplanned(message) : this.#change(plan, message)
      }
      case 'begin':
        if (this.#source) throw protocolViolation('a transaction inside a transaction')
        this.#source = beginSource(message, this.#options.appliedLsn)
        return undefined
      case 'commit':
        return this.#commit(message.endLsn)
      case 'keepalive':
        // In the middle of a transaction it tells how far the source is, not what we have.
        if (!this.#source) this.#passed(message.walEnd)
        return undefined
      case 'relation': {
        const obsolete = this.#options.tables.describe(message.relation)
        if (obsolete) this.#group.cut(obsolete)
        return undefined
      }
      case 'truncate':
        return this.#truncate(message)
      case 'type': // Types are looked up by name on the target.
      case 'origin': // Of whatever origin the change is, the source has it.
      case 'message': // Of other tools.
        return undefined
      default:
        throw protocolViolation(`an unasked "${message.kind}"`)
    }
  }

  /** Writes what has been collected, if it is time and the target has nothing to do. */
  async writeWhenIdle(): Promise<void> {
    this.#writer.throwFailure()
    if (this.atBoundary && this.#hasChanges && !this.#writer.isWriting) await this.#write(true)
  }

  /** Writes everything up to the last finished transaction, and waits until it is durable. */
  async finish(): Promise<void> {
    if (this.#hasChanges) await this.#write(true)
    await this.settled()
  }

  /** Waits until all that is being written is durable. @throws what has become of it */
  settled(): Promise<void> {
    return this.#writer.settled()
  }

  /** The table as it was before its copy may look different from the one on the target, and is of no interest. */
  #unplanned(message: RowMessage): Promise<void> | undefined {
    const { tables } = this.#options
    const source = this.#open()
    const point = tables.point(message.relation)
    if (point === undefined) this.#options.onIgnored(tables.relation(message.relation))
    else if (!source.skip && source.finalLsn >= point) {
      return this.#plan(message.relation, point, source).then((plan) => plan && this.#change(plan, message))
    }
    return this.#passOver(message)
  }

  /** Rows that are collected keep the bytes that arrived with them, also those of others: they count as well. */
  #passOver(message: RowMessage): undefined {
    if (!this.#group.isEmpty) this.#group.bytes += message.bytes
  }

  /** How the changes of a table are written, once its definition is the one that the source has described. */
  async #plan(oid: number, point: Lsn, source: SourceTransaction): Promise<TablePlan | undefined> {
    const { tables } = this.#options
    if (tables.altered) await this.settled()
    const change = tables.isDropped(oid) ? undefined : await tables.change(oid, source.xid)
    if (tables.isDropped(oid)) return undefined
    if (change && change.steps.length > 0) {
      this.#begin(source)
      // Everything before goes first, in the old shape, into the same transaction, which stays open.
      await this.#write(false)
      await this.settled()
      await tables.alter(change)
    } else if (change) {
      this.#begin(source)
      this.#group.add(change.statements)
    }
    return await tables.plan(oid, point)
  }

  #change(plan: TablePlan, message: RowMessage): Promise<void> | undefined {
    const source = this.#open()
    if (source.skip || source.finalLsn < plan.point) return this.#passOver(message)
    if (message.kind !== 'delete') expectWidth(plan, message.row)
    if (message.kind !== 'insert' && message.old) expectWidth(plan, message.old.row)
    this.#begin(source)
    if (message.kind === 'insert') this.#group.insert(plan, message, source.finalLsn)
    else if (message.kind === 'update') this.#group.update(plan, message, source.finalLsn)
    else this.#group.delete(plan, message, source.finalLsn)
    this.#marks.change(plan, message)
    return this.#isFull ? this.#write(false) : undefined
  }

  async #truncate(message: TruncateMessage): Promise<void> {
    const { tables } = this.#options
    const source = this.#open()
    if (source.skip) return
    const plans: TablePlan[] = []
    for (const oid of message.relations) {
      const point = tables.point(oid)
      if (point === undefined) this.#options.onIgnored(tables.relation(oid))
      else if (source.finalLsn >= point) {
        const plan = tables.known(oid) ?? (await this.#plan(oid, point, source))
        if (plan) plans.push(plan)
      }
    }
    if (plans.length === 0) return
    this.#begin(source)
    this.#group.truncate(plans, message.restartIdentity, source.finalLsn)
    this.#marks.truncate(plans)
  }

  #open(): SourceTransaction {
    if (!this.#source) throw protocolViolation('a change outside a transaction')
    return this.#source
  }

  #begin(source: SourceTransaction): void {
    if (this.#group.isEmpty) this.#collectingSince = performance.now()
    if (source.changed) return
    source.changed = true
    this.#group.oldestCommit ??= source.commitTime
  }

  #commit(endLsn: Lsn): Promise<void> | undefined {
    const { changed } = this.#open()
    this.#source = undefined
    if (!changed) {
      this.#passed(endLsn)
      return undefined
    }
    this.changedLsn = endLsn
    this.#group.counts.transactions++
    this.#group.endLsn = endLsn
    this.#group.tailLsn = undefined
    if (this.#isFull || this.#writer.hasParts) return this.#write(true)
    const wait = this.#writer.isWriting || performance.now() - this.#collectingSince < COLLECT_MS
    return wait ? undefined : this.#write(true)
  }

  get #isFull(): boolean {
    return this.#group.rows >= GROUP_ROWS || this.#group.bytes >= GROUP_BYTES
  }

  /** Nothing up to this place is left to be done but what is under way. */
  #passed(lsn: Lsn): void {
    if (this.#hasChanges) this.#group.tailLsn = lsn
    else if (!this.#writer.passed(lsn)) this.#reached(lsn)
  }

  #reached(lsn: Lsn): void {
    if (lsn <= this.position) return
    this.position = lsn
    this.#options.stream.acknowledge(lsn)
  }

  #write(commit: boolean): Promise<void> {
    const group = this.#group
    group.add(this.#marks.take())
    this.#group = new ChangeGroup()
    return this.#writer.write(group, commit)
  }
}
