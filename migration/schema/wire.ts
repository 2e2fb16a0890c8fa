/*
 * The little of the frontend/backend protocol that is needed between pg_dump's libpq and a connection that is
 * authenticated already. https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

export interface FrontendMessages {
  /** Whole messages to pass on. */
  messages: Buffer<ArrayBuffer>
  /** How many ReadyForQuery will answer them: one for each Query and each Sync. */
  answered: number
  /** The beginning of a message whose end libpq has not written yet. */
  rest: Buffer<ArrayBuffer>
}

const QUERY = 0x51 // Q
const SYNC = 0x53 // S
const TERMINATE = 0x58 // X
const READY_FOR_QUERY = 0x5a // Z

/**
 * Cuts whole messages off what a client has written. Terminate is left out: the connection is not the client's.
 *
 * @param started false when the first message is the start-up packet, which has no type byte
 */
export function frontendMessages(bytes: Buffer<ArrayBuffer>, started: boolean): FrontendMessages {
  const messages: Buffer<ArrayBuffer>[] = []
  let answered = 0
  let offset = 0
  let header = started ? 1 : 0
  while (bytes.length >= offset + header + 4) {
    const end = offset + header + bytes.readInt32BE(offset + header)
    if (bytes.length < end) break
    const type = header === 0 ? 0 : bytes[offset]
    if (type === QUERY || type === SYNC) answered++
    if (type !== TERMINATE) messages.push(bytes.subarray(offset, end))
    offset = end
    header = 1
  }
  return { messages: Buffer.concat(messages), answered, rest: bytes.subarray(offset) }
}

/** Finds the ends of answers in the stream of a server, whatever the chunks it arrives in. */
export class AnswerReader {
  #chunks: Buffer[] = []
  #header = Buffer.alloc(0)
  /** Bytes of the current message that have not arrived yet. */
  #missing = 0
  #remaining: number

  /** @param answers how many ReadyForQuery to wait for */
  constructor(answers: number) {
    this.#remaining = answers
  }

  /** True when the last ReadyForQuery is complete. */
  push(chunk: Buffer): boolean {
    this.#chunks.push(chunk)
    let offset = 0
    while (offset < chunk.length) {
      const skipped = Math.min(this.#missing, chunk.length - offset)
      offset += skipped
      this.#missing -= skipped
      if (this.#missing > 0 || offset === chunk.length) break
      const taken = chunk.subarray(offset, offset + 5 - this.#header.length)
      this.#header = Buffer.concat([this.#header, taken])
      offset += taken.length
      if (this.#header.length < 5) break
      this.#missing = this.#header.readInt32BE(1) - 4
      if (this.#header[0] === READY_FOR_QUERY) this.#remaining--
      this.#header = Buffer.alloc(0)
    }
    return this.#remaining === 0 && this.#missing === 0 && this.#header.length === 0
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(Buffer.concat(this.#chunks))
  }
}

/** What a server answers to the start-up packet of a client that it trusts. */
export function startupAnswer(parameters: Record<string, string>): Uint8Array {
  const AUTHENTICATION = 0x52 // R
  const BACKEND_KEY_DATA = 0x4b // K
  const PARAMETER_STATUS = 0x53 // S
  return Buffer.concat([
    message(AUTHENTICATION, Buffer.alloc(4)), // AuthenticationOk
    ...Object.entries(parameters).map(([name, value]) => message(PARAMETER_STATUS, Buffer.from(`${name}\0${value}\0`))),
    message(BACKEND_KEY_DATA, Buffer.alloc(8)),
    message(READY_FOR_QUERY, Buffer.from('I')),
  ])
}

function message(type: number, body: Buffer): Buffer {
  const header = Buffer.alloc(5)
  header[0] = type
  header.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}
