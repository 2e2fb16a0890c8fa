import { LogicalReplicationService } from 'pg-logical-replication/dist/logical-replication-service.js'
import type { Client } from 'pg'
import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { errorText, MigrationError, sqlState } from '../errors.ts'
import { formatLsn, type Lsn } from '../lsn.ts'
import { takeCopyData, type CopyDataBlock } from './copy-both.ts'
import { MessageQueue } from './message-queue.ts'
import { PgoutputDecoder } from './pgoutput.ts'
import { PgoutputPlugin } from './pgoutput-plugin.ts'
import { endOwnWalsender, readSlot } from './replication-slot.ts'
import { slotTrouble } from './slot-trouble.ts'
import { sourceSilent, sourceTrouble } from './source-trouble.ts'
import { walsenderMessages, type StreamMessage } from './walsender-messages.ts'

/**
 * The changes of a slot as two ends: messages come in, acknowledgements go out. It never decides by itself
 * what is durable.
 */
export interface ReplicationStream extends AsyncDisposable {
  /**
   * The next messages; none when there are none for `waitMs` or after {@link wake}. They are decoded one by one
   * as they are taken, so that what follows a message that is not understood is never looked at.
   *
   * @throws what ended the stream, after the last message before it; the iteration throws ProtocolViolation
   */
  read(waitMs: number): Promise<Iterable<StreamMessage>>
  wake(): void
  /** Everything up to this LSN (the end of a commit, or a keepalive's) is durable on the target. */
  acknowledge(lsn: Lsn): void
  /** Asks the source for a keepalive, which tells how far it has sent. */
  ping(): void
  readonly queuedBytes: number
  /** ms since the source was last heard of while we listened; while the socket is paused it says nothing. */
  readonly silentMs: number
}

export interface StreamOptions {
  slot: string
  publications: string[]
  /** Where to begin: the last durable LSN. */
  startLsn: Lsn
  /** Values in their binary form. */
  binary?: boolean
  /** An ordinary connection to the same database. */
  source: Connection
  /** Bytes that are received ahead of the reader; beyond it the socket is paused. */
  queueBytes?: number
  /** Looks at the server at the other end of the very connection that is to be read; what it throws ends the attempt. */
  admit?: (walsender: Connection) => Promise<void>
  /** ms of trying to get a slot that is in use. */
  slotWaitMs?: number
}

/**
 * A transaction that needs more memory than this is written to the source's disk and read back while it is decoded,
 * which takes a fifth longer (measured: a million rows, 192 MB). Of its default of 64 MB it is raised to 256 MB, but
 * not above shared_buffers, which says how large the server is; a greater setting stays. New in PostgreSQL 13.
 * https://www.postgresql.org/docs/current/runtime-config-resource.html#GUC-LOGICAL-DECODING-WORK-MEM
 */
const DECODING_MEMORY = `
  select pg_catalog.set_config(name, wanted::text, false)
    from pg_catalog.pg_settings,
         lateral (select least(262144, pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')) / 1024)) as w (wanted)
   where name = 'logical_decoding_work_mem' and setting::bigint < wanted`

/** Some ten thousand narrow rows: enough to work on while the next arrive, little beside a group that is applied. */
const QUEUE_BYTES = 4 * 1024 * 1024

/** ms between status messages to a source that has no timeout. */
const STATUS_MS = 10_000

/** ms that the slot's last walsender has to end by itself; after that it is ended. */
const GRACE_MS = 1_000
/** ms of trying to get a slot that is in use. */
const SLOT_WAIT_MS = 30_000
/** ms for the source to begin to send; it has answered the connection before. */
const START_MS = 60_000
/** ms for the source to answer the end of the copy: in the middle of a large transaction it does not. */
const CLOSE_MS = 1_000

const SLOT_ACTIVE = '55006'
/** object_not_in_prerequisite_state (also: the slot was invalidated), undefined_object (there is none). */
const SLOT_REFUSED = new Set(['55000', '42704'])

/**
 * Starts replication from a slot that may still be held by a walsender of ours that is on its way out.
 *
 * @throws {MigrationError} as slotTrouble(); SlotRefused; SlotInUse (retryable) when somebody else reads it; as sourceTrouble()
 */
export async function openReplicationStream(
  context: DatabaseContext,
  options: StreamOptions,
): Promise<ReplicationStream> {
  const begin = Date.now()
  for (let attempt = 0; ; attempt++) {
    try {
      return await startStream(context, options)
    } catch (error) {
      const state = sqlState(error)
      if (state !== undefined && SLOT_REFUSED.has(state)) throw await slotRefused(options, error)
      if (state !== SLOT_ACTIVE) throw sourceTrouble(error)
      if (Date.now() - begin > (options.slotWaitMs ?? SLOT_WAIT_MS) || context.draining.aborted) {
        throw new MigrationError('SlotInUse', `The replication slot ${options.slot} is in use: ${errorText(error)}.`, {
          hint: 'It is tried again by itself: a session of ours that was cut off keeps the slot for wal_sender_timeout at most. If it stays, see who reads it, and end that: select * from pg_stat_replication join pg_replication_slots on pid = active_pid;',
          retryable: true,
          target: 'source',
          cause: error,
        })
      }
      // We hold the lease, so whoever reads the slot under our name is a predecessor.
      if (Date.now() - begin > GRACE_MS) await endOwnWalsender(options.source, options.slot)
      await new Promise((resolve) => setTimeout(resolve, Math.min(20 * 2 ** attempt, 500)))
    }
  }
}

async function slotRefused({ slot, source }: StreamOptions, error: unknown): Promise<MigrationError> {
  const state = await readSlot(source, slot)
  const trouble = slotTrouble({ slot, state })
  if (trouble) return trouble
  return new MigrationError('SlotRefused', `The source does not let the slot ${slot} be read: ${errorText(error)}.`, {
    hint:
      state?.synced === true
        ? 'The address of the source leads to a standby. Let it lead to the primary, or promote the standby, and the migration goes on by itself.'
        : 'The slot is there and whole: when the reason above is mended, the migration goes on by itself.',
    target: 'source',
    cause: error,
  })
}

async function startStream(
  context: DatabaseContext,
  { slot, publications, startLsn, source, binary = false, queueBytes = QUEUE_BYTES, admit }: StreamOptions,
): Promise<ReplicationStream> {
  const { timeout } = (
    await source.query<{ timeout: string }>(
      `select setting as timeout from pg_settings where name = 'wal_sender_timeout'`,
    )
  ).rows[0]!
  let client: Client | undefined
  let closing = false
  let heardAt = performance.now()
  let isHeld = false
  const queue = new MessageQueue<CopyDataBlock>(queueBytes, (held) => {
    isHeld = held
    heardAt = performance.now()
    const socket = client?.connection.stream
    if (held) socket?.pause()
    else socket?.resume()
  })
  const plugin = new PgoutputPlugin({
    publications,
    binary,
    onClient(own) {
      client = own
      takeCopyData(own, (block) => {
        heardAt = performance.now()
        if (!closing) queue.put(block, block.end - block.start)
      })
    },
  })
  // Any other setting acknowledges what was received and not applied.
  const service = new LogicalReplicationService({}, { acknowledge: { auto: false, timeoutSeconds: 0 } })
  // It opens its connection without listening for errors until that is done: one that arrives in the same packet as
  // the end of the start-up would end the process.
  Object.assign(service, {
    async client(this: { _client: Client; _connection: Client['connection'] }) {
      const own = await context.replication('follow')
      own.on('error', (error) => service.emit('error', error))
      this._client = own
      this._connection = own.connection
      await admit?.(own)
      await own.query(DECODING_MEMORY)
      return [own, own.connection]
    },
  })
  let durable = startLsn
  // The library sends the LSN after the one it is given. Commit records often stand back to back, and the LSN
  // after a commit's end lies in the next one: the source would skip that transaction for ever.
  const sendStatus = (ping = false): void => void service.acknowledge(formatLsn(durable - 1n), ping)

  service.on('error', (error: Error) => queue.fail(sourceTrouble(error)))

  const decoder = new PgoutputDecoder({ binary })
  const started = new Promise<void>((resolve) => service.on('start', () => resolve()))
  const ended = service.subscribe(plugin, slot, formatLsn(startLsn)).then(
    () => queue.fail(sourceTrouble(new Error('Connection terminated by the source'))),
    (error: unknown) => {
      queue.fail(sourceTrouble(error))
      if (!closing) throw error
    },
  )
  // It is waited for below; until then its failure is in the queue.
  ended.catch(() => {})
  const tooLate = new AbortController()
  await Promise.race([started, ended, after(START_MS, tooLate.signal)])
    .catch(async (error: unknown) => {
      await stop(service)
      throw error
    })
    .finally(() => tooLate.abort())
  sendStatus()
  // Also while the socket is paused: any message from us restarts the source's clock, and it gives up
  // after wal_sender_timeout without one.
  const timer = setInterval(
    sendStatus,
    timeout === '0' ? STATUS_MS : Math.min(STATUS_MS, Math.max(20, Number(timeout) / 3)),
  )

  return {
    async read(waitMs) {
      return walsenderMessages(await queue.take(waitMs), decoder, sendStatus)
    },
    wake: () => queue.wake(),
    acknowledge(lsn) {
      if (lsn <= durable) return
      durable = lsn
      sendStatus()
    },
    ping: () => sendStatus(true),
    get queuedBytes() {
      return queue.bytes
    },
    get silentMs() {
      return isHeld ? 0 : performance.now() - heardAt
    },
    async [Symbol.asyncDispose]() {
      closing = true
      clearInterval(timer)
      if (client && !service.isStop()) {
        sendStatus()
        ;(client.connection as unknown as CopyConnection).endCopyFrom()
        client.connection.stream.resume()
        await Promise.race([ended.catch(() => {}), new Promise((resolve) => setTimeout(resolve, CLOSE_MS))])
      }
      await stop(service)
    },
  }
}

/** Fails after a time, unless it is called off. */
function after(ms: number, calledOff: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const timer = setTimeout(() => reject(sourceSilent(ms)), ms)
    calledOff.addEventListener('abort', () => clearTimeout(timer))
  })
}

/** What the types of `pg` leave out of its connection. */
interface CopyConnection {
  endCopyFrom(): void
}

/** Ends the connection; a socket that is still copying is destroyed by the library's client. */
async function stop(service: LogicalReplicationService): Promise<void> {
  await Promise.race([service.destroy().catch(() => {}), new Promise((resolve) => setTimeout(resolve, CLOSE_MS))])
}
