import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { errorText } from '../errors.ts'
import type { DatabaseStatus } from '../model/status.ts'
import { readSlot, type SlotState } from './replication-slot.ts'
import { sourceObjects } from './slot-name.ts'
import { namingTroubles } from './source-trouble.ts'
import { oldTransactionWarning, OLD_TRANSACTION_SECONDS, WAL_LEVELS, walLevel, walWarning } from './retained-wal.ts'

/** Looks at the slot, and keeps its warnings in the status as they are true. */
export class RetainedWalWatch {
  readonly #context: DatabaseContext
  readonly #slot: string
  /** The last text about each of the two, so that the status is touched when it changes only; null before the first. */
  #wal: string | undefined | null = null
  #transaction: string | undefined | null = null

  constructor(context: DatabaseContext, slot: string) {
    this.#context = context
    this.#slot = slot
  }

  /** @returns the slot; undefined when it is gone */
  async look(source: Connection): Promise<SlotState | undefined> {
    const state = await readSlot(source, this.#slot)
    if (!state) return undefined
    const { limitBytes, oldest } = await readSurroundings(source)
    const level = walLevel({ ...state, ...(limitBytes === undefined ? {} : { limitBytes }) })
    const others = WAL_LEVELS.map((other) => walWarning(other, this.#slot)).filter((text) => text !== undefined)
    const numbers = `Retained: ${state.retainedBytes} bytes${state.safeWalBytes === undefined ? '' : `; left: ${state.safeWalBytes} bytes`}.`
    this.#wal = await this.#replace(this.#wal, walWarning(level, this.#slot), 'RetainedWal', numbers, (warning) => {
      const place = others.indexOf(warning)
      return place >= 0 ? place : undefined
    })
    const transaction = oldest && oldTransactionWarning(oldest.name, oldest.since)
    this.#transaction = await this.#replace(this.#transaction, transaction, 'OldTransaction', '', (warning) =>
      warning.startsWith(OLD_TRANSACTION_PREFIX) ? 0 : undefined,
    )
    return state
  }

  /** @param rank how bad a warning of the same kind is; undefined for others */
  async #replace(
    before: string | undefined | null,
    now: string | undefined,
    event: string,
    detail: string,
    rank: (warning: string) => number | undefined,
  ): Promise<string | undefined> {
    // A new watch does not know what another one, before it, has left in the status.
    if (before === now) return now
    let isNew = false
    await this.#context.status((status) => {
      const kept = status.warnings.filter((warning) => rank(warning) === undefined)
      const worst = Math.max(-1, ...status.warnings.map((warning) => rank(warning) ?? -1))
      const level = now === undefined ? -1 : rank(now)!
      // Once for each level, on the way up: on the way down the worst is kept until all is well.
      isNew = level > worst
      if (now === undefined) return worst < 0 ? status : { ...status, warnings: kept }
      return level < worst ? status : { ...status, warnings: [...kept, now] }
    })
    if (isNew) await this.#context.event({ level: 'warning', event, message: `${now} ${detail}`.trim() })
    return now
  }
}

const OLD_TRANSACTION_PREFIX = oldTransactionWarning('', '').slice(0, 40)

async function readSurroundings(
  source: Connection,
): Promise<{ limitBytes?: number; oldest?: { name: string; since: string } }> {
  // Sessions of other roles tell their transactions to members of pg_read_all_stats only; prepared ones are told to all.
  const { rows } = await source.query<{ megabytes: string | null; name: string | null; since: string | null }>(
    `select (select setting from pg_settings where name = 'max_slot_wal_keep_size') as megabytes, oldest.*
       from (select) as one
       left join (
         select format('session %s of %s', pid, usename) as name, xact_start::timestamptz(0) as since
           from pg_stat_activity
          where backend_xid is not null and xact_start < now() - make_interval(secs => $1)
         union all
         select format('prepared transaction %L of %s', gid, owner), prepared::timestamptz(0)
           from pg_prepared_xacts
          where prepared < now() - make_interval(secs => $1)
          order by since limit 1) oldest on true`,
    [OLD_TRANSACTION_SECONDS],
  )
  const { megabytes, name, since } = rows[0]!
  return {
    ...(megabytes === null || megabytes === '-1' ? {} : { limitBytes: Number(megabytes) * 1024 ** 2 }),
    ...(name === null || since === null ? {} : { oldest: { name, since } }),
  }
}

/** ms between two looks where nothing else is asked of the source; a checkpoint, which gives slots up, takes longer. */
const WATCH_MS = 10_000

/**
 * Watches the slot during work that does not read it (load, indexes) until it is disposed of: that is when most WAL is
 * kept. Nothing depends on it.
 */
export function watchSlot(context: DatabaseContext): AsyncDisposable {
  const { slot } = sourceObjects(context.key, context.database)
  const watch = new RetainedWalWatch(context, slot)
  let looking: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | undefined

  const look = async (): Promise<void> => {
    // A session for each look: none is kept from the server for hours.
    await using source = await context.source('slot watch')
    const state = await watch.look(namingTroubles(source))
    if (state) await context.status((status) => ({ ...status, slot: slotStatus(slot, state) }))
  }
  const tick = (): void => {
    looking = look()
      .catch((error: unknown) => context.log.warn('The slot could not be looked at', { error: errorText(error) }))
      .finally(() => {
        timer = ended ? undefined : setTimeout(tick, WATCH_MS)
      })
  }
  let ended = false
  tick()
  return {
    async [Symbol.asyncDispose]() {
      ended = true
      clearTimeout(timer)
      await looking
    },
  }
}

/** The part of the status that the slot stands for. */
export function slotStatus(
  name: string,
  { walStatus, retainedBytes, safeWalBytes }: SlotState,
): DatabaseStatus['slot'] {
  return { name, walStatus, retainedBytes, ...(safeWalBytes === undefined ? {} : { safeWalBytes }) }
}
