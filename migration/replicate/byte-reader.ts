import { isUtf8 } from 'node:buffer'
import { MigrationError } from '../errors.ts'
import type { Lsn } from '../lsn.ts'

/**
 * Values from this size on stay bytes: outside the heap of JavaScript, and beyond the 512 MB that a string
 * can hold.
 */
const LARGE_VALUE_BYTES = 64 * 1024

/**
 * Reads one message of the replication stream. The bytes belong to the connection's buffer, which is used
 * again for the next packet: everything returned is a copy.
 */
export class ByteReader {
  readonly #bytes: Buffer
  readonly #checkUtf8: boolean
  #offset = 0

  /** @param checkUtf8 keep text that is no UTF-8 as bytes: a SQL_ASCII database sends what its clients once stored */
  constructor(bytes: Buffer, checkUtf8 = false) {
    this.#bytes = bytes
    this.#checkUtf8 = checkUtf8
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  #take(length: number): number {
    const start = this.#offset
    if (length < 0 || start + length > this.#bytes.length) {
      throw protocolViolation(`a message of ${this.#bytes.length} bytes ends early`)
    }
    this.#offset = start + length
    return start
  }

  uint8(): number {
    return this.#bytes[this.#take(1)]!
  }

  uint16(): number {
    return this.#bytes.readUInt16BE(this.#take(2))
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#take(4))
  }

  /** Object and transaction ids are unsigned. */
  uint32(): number {
    return this.#bytes.readUInt32BE(this.#take(4))
  }

  lsn(): Lsn {
    return this.#bytes.readBigUInt64BE(this.#take(8))
  }

  /** ms since 1970, with the microseconds as fraction; on the wire it is µs since 2000-01-01. */
  time(): number {
    return Number(this.#bytes.readBigInt64BE(this.#take(8))) / 1000 + 946_684_800_000
  }

  /** Text that ends with a zero byte. */
  cstring(): string {
    const end = this.#bytes.indexOf(0, this.#offset)
    if (end < 0) throw protocolViolation('a name without end')
    const start = this.#take(end + 1 - this.#offset)
    return this.#bytes.toString('utf8', start, end)
  }

  /** Bytes with their length before them. */
  bytes(): Buffer {
    const length = this.int32()
    const start = this.#take(length)
    return Buffer.from(this.#bytes.subarray(start, start + length))
  }

  /** A text value with its length before it. */
  text(): string | Buffer {
    const length = this.int32()
    const start = this.#take(length)
    const end = start + length
    if (length >= LARGE_VALUE_BYTES || (this.#checkUtf8 && !isUtf8(this.#bytes.subarray(start, end)))) {
      return Buffer.from(this.#bytes.subarray(start, end))
    }
    return this.#bytes.toString('utf8', start, end)
  }

  /** @throws {MigrationError} ProtocolViolation when anything is left */
  end(): void {
    if (this.remaining > 0) throw protocolViolation(`${this.remaining} bytes too many`)
  }
}

export function protocolViolation(what: string): MigrationError {
  return new MigrationError(
    'ProtocolViolation',
    `The source sent a replication message that is not understood: ${what}.`,
    {
      hint: 'Nothing of it was applied. Check for a proxy between here and the source; a replication connection must reach the server itself.',
      target: 'source',
    },
  )
}
