import { MigrationError } from '../errors.ts'
import type { Lsn } from '../lsn.ts'
import { TextRequired } from './text-required.ts'
import { BINARY_VALUE, NULL_VALUE, TEXT_VALUE, UNCHANGED_VALUE, type Tuple } from './tuple.ts'

/** Reads the fields of one message of the replication stream after the other. */
export class ByteReader {
  #bytes: Buffer = Buffer.alloc(0)
  #start = 0
  #end = 0
  #offset = 0
  readonly #valueKind: number

  /** @param binary values have been asked for in their binary form */
  constructor(binary = false) {
    this.#valueKind = binary ? BINARY_VALUE : TEXT_VALUE
  }

  /** Begins with a message that stands in these bytes from `start` to `end`. */
  read(bytes: Buffer, start: number, end: number): void {
    this.#bytes = bytes
    this.#start = start
    this.#end = end
    this.#offset = start
  }

  get remaining(): number {
    return this.#end - this.#offset
  }

  #take(length: number): number {
    const start = this.#offset
    if (length < 0 || start + length > this.#end) {
      throw protocolViolation(`a message of ${this.#end - this.#start} bytes ends early`)
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
    if (end < 0 || end >= this.#end) throw protocolViolation('a name without end')
    const start = this.#take(end + 1 - this.#offset)
    return this.#bytes.toString('utf8', start, end)
  }

  /** A copy of bytes with their length before them. */
  blob(): Buffer {
    const length = this.int32()
    const start = this.#take(length)
    return Buffer.from(this.#bytes.subarray(start, start + length))
  }

  /**
   * A row, which stays a view of the message's bytes.
   *
   * @throws {TextRequired} a value was asked for in its binary form, and has none
   */
  tuple(): Tuple {
    const columns = this.uint16()
    const valueKind = this.#valueKind
    const bytes = this.#bytes
    const end = this.#end
    const start = this.#offset
    let offset = start
    let unchanged = false
    for (let i = 0; i < columns; i++) {
      // Beyond the end of the message there is more of the buffer, or nothing: neither is a kind that is looked at.
      const kind = offset < end ? bytes[offset] : undefined
      offset++
      if (kind === valueKind) {
        if (offset + 4 > end) throw protocolViolation('a row that ends early')
        const length =
          (bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!
        offset += 4 + length
        if (length < 0 || offset > end) throw protocolViolation('a row that ends early')
      } else if (kind === UNCHANGED_VALUE) unchanged = true
      // Of a type that has no binary form, in a table or column that the source's catalog does not have any more.
      else if (kind === TEXT_VALUE) throw new TextRequired('a value came as text')
      // A value in the form that was not asked for would be taken for another one.
      else if (kind !== NULL_VALUE) throw protocolViolation(`the value format ${kind}`)
    }
    this.#offset = offset
    return { bytes, start, end: offset, columns, unchanged }
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
