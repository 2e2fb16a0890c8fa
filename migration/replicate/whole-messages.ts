import type { Duplex } from 'node:stream'
import { protocolViolation } from './byte-reader.ts'

/** Type and length: https://www.postgresql.org/docs/current/protocol-message-formats.html */
const HEADER_BYTES = 5
/** The length counts itself. */
const LEAST_LENGTH = 4
/** A server builds a message in one allocation, which is smaller: MaxAllocSize in src/include/utils/memutils.h. */
const GREATEST_LENGTH = 0x3fffffff

const NOTHING = Buffer.alloc(0)

/**
 * Cuts what a connection receives where messages end, so that one that comes in pieces is put together once,
 * in memory of its own. node-postgres doubles its buffer until the message fits (one of 200 MB is in 128 MB and
 * 256 MB at the same time), and uses that buffer again for what follows.
 */
export class WholeMessages {
  readonly #pass: (messages: Buffer) => void
  /** Less than a header. */
  #rest: Buffer = NOTHING
  #message: Buffer | undefined
  #filled = 0

  /** @param pass gets one or more whole messages; their memory is not used again */
  constructor(pass: (messages: Buffer) => void) {
    this.#pass = pass
  }

  /** @throws {MigrationError} ProtocolViolation */
  add(chunk: Buffer): void {
    let offset = 0
    let bytes = chunk
    if (this.#message) {
      offset = this.#fill(this.#message, bytes)
      if (this.#filled < this.#message.length) return
      const message = this.#message
      this.#message = undefined
      this.#pass(message)
    } else if (this.#rest.length > 0) {
      bytes = Buffer.concat([this.#rest, chunk])
      this.#rest = NOTHING
    }
    const start = offset
    let length = 0
    while (offset + HEADER_BYTES <= bytes.length) {
      length = messageBytes(bytes, offset)
      if (offset + length > bytes.length) break
      offset += length
    }
    if (offset > start) this.#pass(bytes.subarray(start, offset))
    const rest = bytes.subarray(offset)
    if (rest.length < HEADER_BYTES) {
      this.#rest = rest
    } else {
      // Not from the pool that small buffers share: a kept part of it would keep the others.
      this.#message = Buffer.allocUnsafeSlow(length)
      this.#filled = 0
      this.#fill(this.#message, rest)
    }
  }

  /** @returns how many of the bytes belong to the message */
  #fill(message: Buffer, bytes: Buffer): number {
    const copied = bytes.copy(message, this.#filled)
    this.#filled += copied
    return copied
  }
}

function messageBytes(bytes: Buffer, offset: number): number {
  const length = bytes.readUInt32BE(offset + 1)
  if (length < LEAST_LENGTH || length > GREATEST_LENGTH) throw protocolViolation(`a message of ${length} bytes`)
  return 1 + length
}

/** Puts {@link WholeMessages} between a connection that is idle and the parser of node-postgres. */
export function receiveWholeMessages(stream: Duplex, onError: (error: unknown) => void): void {
  const parsers = stream.listeners('data') as ((bytes: Buffer) => void)[]
  const messages = new WholeMessages((bytes) => parsers.forEach((parse) => parse(bytes)))
  stream.on('data', (chunk: Buffer) => {
    try {
      messages.add(chunk)
    } catch (error) {
      onError(error)
    }
  })
  for (const parse of parsers) stream.off('data', parse)
}
