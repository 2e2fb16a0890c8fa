import pg from 'pg'
import type { Connection } from '../../connect.ts'

/** Bytes that are handed to the socket before the first look whether it keeps up. */
const AHEAD_BYTES = 4 * 1024 * 1024
const COPY_DATA = 0x64 // d

/** What the types of `pg` leave out of its connection. */
interface CopyConnection {
  query(sql: string): void
  endCopyFrom(): void
  stream: NodeJS.WritableStream & { destroyed: boolean; cork(): void; uncork(): void }
}

/**
 * A COPY FROM STDIN whose data goes out with the command, without waiting for the server to ask for it: a server
 * that refuses the command passes over the data.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 *
 * A subclass of the library's query, because only these may be sent without waiting for the results of others.
 */
class CopyIn extends pg.Query {
  /** All of the data has been handed to the socket. */
  sent: Promise<void> = Promise.resolve()
  readonly #sql: string
  readonly #data: Iterable<Buffer>

  constructor(sql: string, data: Iterable<Buffer>, done: (error: Error | null, result: pg.QueryResult) => void) {
    super({ text: sql }, done as never)
    this.#sql = sql
    this.#data = data
  }

  override submit = (connection: unknown): void => {
    const copy = connection as CopyConnection
    const { stream } = copy
    copy.query(this.#sql)
    const pieces = this.#data[Symbol.iterator]()
    if (write(stream, pieces)) copy.endCopyFrom()
    else {
      this.sent = (async () => {
        do {
          await drained(stream)
          // The query fails by itself.
          if (stream.destroyed) return
        } while (!write(stream, pieces))
        copy.endCopyFrom()
      })()
    }
  }

  handleCopyInResponse(): void {}
}

/** Waits until the socket has sent what it was given, or is lost: then it never will. */
function drained(stream: CopyConnection['stream']): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done)
      resolve()
    }
    stream.once('drain', done).once('close', done)
    if (stream.destroyed) done()
  })
}

/** Sends pieces as long as the socket may be expected to keep up. @returns whether that was all */
function write(stream: CopyConnection['stream'], pieces: Iterator<Buffer>): boolean {
  let ahead = 0
  for (let next = pieces.next(); next.done !== true; next = pieces.next()) {
    const piece = next.value
    const head = Buffer.allocUnsafe(5)
    head[0] = COPY_DATA
    head.writeUInt32BE(piece.length + 4, 1)
    stream.cork()
    stream.write(head)
    const keepsUp = stream.write(piece)
    stream.uncork()
    ahead += piece.length
    if (ahead >= AHEAD_BYTES && !keepsUp) return false
  }
  return true
}

/**
 * Sends a COPY FROM STDIN. Nothing else may be sent on the session before `sent`.
 *
 * @returns its result, as of any query
 */
export function copyIn(
  session: Connection,
  sql: string,
  data: Iterable<Buffer>,
): { result: Promise<pg.QueryResult>; sent: Promise<void> } {
  let query: CopyIn | undefined
  const result = new Promise<pg.QueryResult>((resolve, reject) => {
    query = new CopyIn(sql, data, (error, done) => (error ? reject(error) : resolve(done)))
    session.query(query)
  })
  return { result, sent: query!.sent }
}
