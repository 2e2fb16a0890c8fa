import { setTimeout } from 'node:timers/promises'
import type { Connection } from '../../connect.ts'
import { readAhead } from '../read-ahead.ts'
import { readDigests } from './shape-digest.ts'

/** ms between two looks at tables that have been looked at in vain: some ms of the source's work each time. */
const AGAIN_MS = 1_000
/**
 * ms for a transaction to become visible: it is sent as soon as its commit is on disk, which may be before its own
 * session has ended it, and long before a synchronous standby has it. What it has done to the table is not seen until then.
 */
const VISIBLE_MS = 1_000
const LOOK_MS = 5
/** Tables of one look. */
const MOST = 1_000

interface Seen {
  digest: string | undefined
  snapshot: string
}

/**
 * What tables of the source are now, for the first changes of each. Asked one by one, each is a round trip during which
 * nothing is applied; so others that are likely to come are asked for with it.
 *
 * A digest serves for the description of a table in a transaction that was over before the source was asked: whatever
 * had happened to the table by then is in the digest, and attribute numbers and file nodes never come back.
 */
export class SourceDigests {
  readonly #source: Connection
  readonly #seen = new Map<number, Seen>()
  readonly #asked = new Set<number>()
  readonly #ahead = readAhead(MOST)
  #lookedAgain = performance.now()

  constructor(source: Connection) {
    this.#source = source
  }

  /**
   * @param xid the transaction with the description
   * @param tables object ids of all tables that may come
   * @returns undefined when there is no such table
   */
  async read(oid: number, xid: number | undefined, tables: () => number[]): Promise<string | undefined> {
    this.#asked.add(oid)
    const seen = this.#seen.get(oid)
    if (seen && xid !== undefined && isOver(xid, seen.snapshot)) return seen.digest
    await this.#look([oid, ...this.#others(seen !== undefined, tables)])
    const limit = performance.now() + VISIBLE_MS
    while (xid !== undefined && !isOver(xid, this.#seen.get(oid)!.snapshot) && performance.now() < limit) {
      await setTimeout(LOOK_MS)
      await this.#look([oid])
    }
    return this.#seen.get(oid)!.digest
  }

  #others(again: boolean, tables: () => number[]): number[] {
    if (!again) return this.#ahead(tables().filter((oid) => !this.#seen.has(oid)))
    // It came too late for the last look, as all do of a source that is followed closely: not so where we are behind.
    const now = performance.now()
    if (now - this.#lookedAgain < AGAIN_MS) return []
    this.#lookedAgain = now
    return tables()
      .filter((oid) => this.#seen.has(oid) && !this.#asked.has(oid))
      .slice(0, MOST)
  }

  async #look(oids: readonly number[]): Promise<void> {
    // The snapshot first: what is over in it is seen by the statement after it.
    const [snapshot, digests] = await Promise.all([
      this.#source.query<{ snapshot: string }>('select txid_current_snapshot() as snapshot'),
      readDigests(this.#source, oids),
    ])
    for (const oid of oids) {
      this.#seen.set(oid, { digest: digests.get(oid), snapshot: snapshot.rows[0]!.snapshot })
    }
  }
}

/**
 * Whether a transaction was over when a snapshot was taken. Snapshots have 64 bits, transactions in the stream the lower
 * 32 of them. https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
 *
 * @param snapshot `xmin:xmax:xip_list`
 */
export function isOver(xid: number, snapshot: string): boolean {
  const [, xmax = '0', list = ''] = snapshot.split(':')
  const behind = BigInt.asIntN(32, BigInt(xid) - BigInt(xmax))
  if (behind >= 0n) return false
  return !list.split(',').includes(String(BigInt(xmax) + behind))
}
