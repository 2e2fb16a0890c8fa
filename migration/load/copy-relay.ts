import type { Duplex } from 'node:stream'
import type pg from 'pg'
import type { Connection } from '../connect.ts'
import { copyOutMessages } from './copy-out-messages.ts'

export interface RelayOptions {
  /** One or more COPY … TO STDOUT, separated by semicolons, in a transaction that is open. */
  read: string
  /** As many COPY … FROM STDIN, in the same order. */
  write: string
  /** Called for each piece of the streams; returns how long to wait before the next one, ms. */
  onBytes: (bytes: number) => number | void
}

/** Rows of each COPY, in order. */
export interface RelayedRows {
  /** As the source counts them. */
  sent: number[]
  /** As the target counts them. */
  written: number[]
}

/** Where an error comes from; its cause is what the server, or the connection to it, says. */
export class RelayError extends Error {
  readonly side: 'source' | 'target'
  /** Copies that were whole on that side: the one of this number, counted from 0, has failed. */
  readonly completed: number

  constructor(side: 'source' | 'target', completed: number, cause: unknown) {
    super(`the copy failed on the ${side}`, { cause })
    this.side = side
    this.completed = completed
  }
}

/** What waits to be sent to the target, for each stream; enough that neither side waits for the other's pauses. */
const MAX_UNSENT_BYTES = 512 * 1024

const COPY_DATA = 0x64
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4])

/**
 * Sends what COPY commands of the source give to COPY commands of the target, with back-pressure: bytes go from socket
 * to socket, and memory does not grow with tables or rows. All commands of a side are one query, so that many small
 * tables cost no round trips: a server reads the messages of one COPY after the other.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 *
 * After an error of the target the source is read to its end, and what it sends is thrown away: whoever does not want
 * to wait for that cuts the sessions.
 *
 * @throws {RelayError}
 */
export async function relayCopies(
  { reader, writer }: { reader: Connection; writer: Connection },
  { read, write, onBytes }: RelayOptions,
): Promise<RelayedRows> {
  const target = startWriting(writer, write)
  const source = startReading(reader, read, target, onBytes)
  // A reader that has failed says nothing more to the target, which then waits for ever: the first failure counts.
  const [sent, written] = await Promise.all([source, target.rows])
  return { sent, written }
}

interface Writing {
  rows: Promise<number[]>
  data(payload: Buffer): void
  done(): void
  /** True when the target has enough for now; `whenSent` is called when it has not any more. */
  isFull(): boolean
  whenSent(callback: () => void): void
}

function startWriting(writer: Connection, text: string): Writing {
  const counted: number[] = []
  let socket: Duplex | undefined
  let over = false
  const waiting = new Set<() => void>()
  const wake = (): void => {
    for (const callback of waiting) callback()
    waiting.clear()
  }
  const rows = new Promise<number[]>((resolve, reject) => {
    const end = (settle: () => void): void => {
      over = true
      socket?.off('drain', wake)
      wake()
      settle()
    }
    writer.query(
      copyQuery({
        submit(connection) {
          socket = connection.stream as Duplex
          socket.on('drain', wake)
          connection.query(text)
        },
        handleCopyInResponse() {},
        handleCommandComplete: ({ text: tag }) => countRows(counted, tag),
        handleError: (error) => end(() => reject(new RelayError('target', counted.length, error))),
        handleReadyForQuery: () => end(() => resolve(counted)),
      }),
    )
  })
  return {
    rows,
    data(payload) {
      if (over || !socket) return
      const header = Buffer.allocUnsafe(5)
      header[0] = COPY_DATA
      header.writeInt32BE(payload.length + 4, 1)
      // One system call for both.
      socket.cork()
      socket.write(header)
      socket.write(payload)
      socket.uncork()
    },
    done() {
      if (!over) socket?.write(COPY_DONE)
    },
    isFull: () => !over && socket !== undefined && socket.writableLength > MAX_UNSENT_BYTES,
    whenSent: (callback) => void waiting.add(callback),
  }
}

/** Rows by COPY; the promise is settled when the reader can be used for something else. */
function startReading(
  reader: Connection,
  text: string,
  target: Writing,
  onBytes: RelayOptions['onBytes'],
): Promise<number[]> {
  const counted: number[] = []
  return new Promise((resolve, reject) => {
    /** Undefined when the client could not even begin. */
    let socket: Duplex | undefined
    let toClient: (chunk: Buffer) => void
    let over = false
    let timer: NodeJS.Timeout | undefined
    let waits = 0

    const resume = (): void => {
      waits -= 1
      // When this COPY is over, the socket is somebody else's.
      if (waits === 0 && !over) socket?.resume()
    }
    const end = (): void => {
      if (over) return
      over = true
      clearTimeout(timer)
      socket?.off('data', parse)
      socket?.on('data', toClient)
      socket?.resume()
    }
    const parse = copyOutMessages({
      data(payload) {
        target.data(payload)
        const pauseMs = onBytes(payload.length)
        if (typeof pauseMs === 'number' && pauseMs > 0) {
          waits += 1
          timer = setTimeout(resume, pauseMs)
        }
        if (target.isFull()) {
          waits += 1
          target.whenSent(resume)
        }
        if (waits > 0) socket?.pause()
      },
      done: () => target.done(),
      other(bytes) {
        toClient(bytes)
        return over
      },
    })
    reader.query(
      copyQuery({
        submit(connection) {
          socket = connection.stream as Duplex
          // The client's own parser, as pg-copy-streams takes its place too; it gets everything that is no COPY data.
          toClient = socket.listeners('data')[0] as typeof toClient
          socket.off('data', toClient)
          socket.on('data', parse)
          connection.query(text)
        },
        handleCommandComplete: ({ text: tag }) => countRows(counted, tag),
        handleError(error) {
          end()
          reject(new RelayError('source', counted.length, error))
        },
        handleReadyForQuery() {
          end()
          resolve(counted)
        },
      }),
    )
  })
}

function countRows(counted: number[], tag: string): void {
  const rows = /^COPY (\d+)/.exec(tag)
  if (rows) counted.push(Number(rows[1]))
}

/** A query whose messages node-postgres hands to us; `callback` is where it would hang its own time-out. */
interface CopyQuery {
  submit(connection: pg.Connection): void
  handleCommandComplete(message: { text: string }): void
  handleError(error: Error): void
  handleReadyForQuery(): void
  handleCopyInResponse?(): void
}

function copyQuery(query: CopyQuery): pg.Submittable {
  return Object.assign(query, { callback: () => {} })
}
