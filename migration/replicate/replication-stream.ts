import { LogicalReplicationService } from 'pg-logical-replication/dist/logical-replication-service.js'
import type { Client } from 'pg'
import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { errorText, MigrationError, sqlState } from '../errors.ts'
import { formatLsn, parseLsn, type Lsn } from '../lsn.ts'
import { MessageQueue } from './message-queue.ts'
import { PgoutputPlugin, type Decoded } from './pgoutput-plugin.ts'
import type { PgoutputMessage } from './pgoutput-message.ts'
import { endOwnWalsender, readSlot, slotLost } from './replication-slot.ts'
import { receiveWholeMessages } from './whole-messages.ts'

/** A keepalive stands where it arrived: all that the source sent before it has been read before it. */
export type StreamMessage = PgoutputMessage | { kind: 'keepalive'; walEnd: Lsn }

/**
 * The changes of a slot as two ends: messages come in, acknowledgements go out. It never decides by itself
 * what is durable.
 */
export interface ReplicationStream extends AsyncDisposable {
  /**
   * The next messages; none when there are none for `waitMs` or after {@link wake}.
   *
   * @throws what ended the stream, after the last message before it
   */
  read(waitMs: number): Promise<StreamMessage[]>
  wake(): void
  /** Everything up to this LSN (the end of a commit, or a keepalive's) is durable on the target. */
  acknowledge(lsn: Lsn): void
  /** Asks the source for a keepalive, which tells how far it has sent. */
  ping(): void
  readonly queuedBytes: number
}

export interface StreamOptions {
  slot: string
  publications: string[]
  /** Where to begin: the last durable LSN. */
  startLsn: Lsn
  /** An ordinary connection to the same database. */
  source: Connection
  /** Bytes that are received ahead of the reader; beyond it the socket is paused. */
  queueBytes?: number
}

/** Some ten thousand narrow rows: enough to work on while the next arrive, little beside a group that is applied. */
const QUEUE_BYTES = 4 * 1024 * 1024

/** ms between status messages to a source that has no timeout. */
const STATUS_MS = 10_000

/** ms that the slot's last walsender has to end by itself; after that it is ended. */
const GRACE_MS = 1_000
/** ms of trying to get a slot that is in use. */
const SLOT_WAIT_MS = 30_000
/** ms for the source to answer the end of the copy: in the middle of a large transaction it does not. */
const CLOSE_MS = 1_000

const SLOT_ACTIVE = '55006'
/** object_not_in_prerequisite_state (the slot was invalidated), undefined_object (there is none). */
const SLOT_GONE = new Set(['55000', '42704'])

/**
 * Starts replication from a slot that may still be held by a walsender of ours that is on its way out.
 *
 * @throws {MigrationError} SlotLost; SlotInUse (retryable) when somebody else reads it
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
      if (state !== undefined && SLOT_GONE.has(state)) {
        throw slotLost(options.slot, await readSlot(options.source, options.slot))
      }
      if (state !== SLOT_ACTIVE) throw error
      if (Date.now() - begin > SLOT_WAIT_MS || context.draining.aborted) {
        throw new MigrationError('SlotInUse', `The replication slot ${options.slot} is in use: ${errorText(error)}.`, {
          hint: 'See who reads it: select * from pg_stat_replication join pg_replication_slots on pid = active_pid;',
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

async function startStream(
  context: DatabaseContext,
  { slot, publications, startLsn, source, queueBytes = QUEUE_BYTES }: StreamOptions,
): Promise<ReplicationStream> {
  const { timeout, encoding } = (
    await source.query<{ timeout: string; encoding: string }>(
      `select (select setting from pg_settings where name = 'wal_sender_timeout') as timeout,
              current_setting('server_encoding') as encoding`,
    )
  ).rows[0]!
  const plugin = new PgoutputPlugin({ publications, checkUtf8: encoding === 'SQL_ASCII' })
  // Any other setting acknowledges what was received and not applied.
  const service = new LogicalReplicationService({}, { acknowledge: { auto: false, timeoutSeconds: 0 } })
  // It opens its connection without listening for errors until that is done: one that arrives in the same packet as
  // the end of the start-up would end the process.
  Object.assign(service, {
    async client(this: { _client: Client; _connection: Client['connection'] }) {
      const client = await context.replication('follow')
      client.on('error', (error) => service.emit('error', error))
      receiveWholeMessages(client.connection.stream, (error) => queue.fail(error))
      this._client = client
      this._connection = client.connection
      return [client, client.connection]
    },
  })
  const queue = new MessageQueue<StreamMessage>(queueBytes, (held) => {
    const socket = plugin.client?.connection.stream
    if (held) socket?.pause()
    else socket?.resume()
  })

  let closing = false
  let durable = startLsn
  // The library sends the LSN after the one it is given. Commit records often stand back to back, and the LSN
  // after a commit's end lies in the next one: the source would skip that transaction for ever.
  const sendStatus = (ping = false): void => void service.acknowledge(formatLsn(durable - 1n), ping)

  service.on('data', (_lsn: string, message: Decoded) => {
    if (closing) return
    if (message.kind === 'malformed') queue.fail(message.error)
    else queue.put(message, 'bytes' in message ? message.bytes : MESSAGE_BYTES)
  })
  service.on('heartbeat', (lsn: string, _time: number, shouldRespond: boolean) => {
    const walEnd = parseLsn(lsn)
    const last = queue.last
    if (last?.kind === 'keepalive') last.walEnd = walEnd
    else queue.put({ kind: 'keepalive', walEnd }, MESSAGE_BYTES)
    if (shouldRespond) sendStatus()
  })
  service.on('error', (error: Error) => queue.fail(error))

  const started = new Promise<void>((resolve) => service.on('start', () => resolve()))
  const ended = service.subscribe(plugin, slot, formatLsn(startLsn)).then(
    () => queue.fail(new Error('Connection terminated by the source.')),
    (error: unknown) => {
      queue.fail(error)
      if (!closing) throw error
    },
  )
  // It is waited for below; until then its failure is in the queue.
  ended.catch(() => {})
  await Promise.race([started, ended]).catch(async (error: unknown) => {
    await stop(service)
    throw error
  })
  sendStatus()
  // Also while the socket is paused: any message from us restarts the source's clock, and it gives up
  // after wal_sender_timeout without one.
  const timer = setInterval(
    sendStatus,
    timeout === '0' ? STATUS_MS : Math.min(STATUS_MS, Math.max(20, Number(timeout) / 3)),
  )

  return {
    read: (waitMs) => queue.take(waitMs),
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
    async [Symbol.asyncDispose]() {
      closing = true
      clearInterval(timer)
      const { client } = plugin
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

/** Bytes that a message without values stands for in the queue. */
const MESSAGE_BYTES = 64

/** What the types of `pg` leave out of its connection. */
interface CopyConnection {
  endCopyFrom(): void
}

/** Ends the connection; a socket that is still copying is destroyed by the library's client. */
async function stop(service: LogicalReplicationService): Promise<void> {
  await Promise.race([service.destroy().catch(() => {}), new Promise((resolve) => setTimeout(resolve, CLOSE_MS))])
}
