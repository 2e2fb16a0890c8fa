import type { Socket } from 'node:net'
import type { Client } from 'pg'
import { protocolViolation } from './byte-reader.ts'

/** CopyData messages, whole ones, one behind the other, with their type bytes and lengths. */
export interface CopyDataBlock {
  bytes: Buffer
  start: number
  end: number
}

const COPY_DATA = 0x64 // d
/** Type byte and length. The length counts itself, not the type byte. */
const HEAD_BYTES = 5
/** The server's own limit, MaxAllocSize (1 GB - 1), with room for what is around a row. */
const MESSAGE_LIMIT = 2 ** 30 + 2 ** 16

/**
 * Cuts what the server sends into messages without copying it: CopyData messages that stand in one chunk of the
 * socket stay together as a block; what is cut by the end of a chunk is put together again.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export class MessageSplitter {
  readonly #onCopyData: (block: CopyDataBlock) => void
  readonly #onOther: (message: Buffer) => void
  /** A message of which the end is missing; as long as its length is unknown, what there is of its head. */
  #part: Buffer | undefined
  #filled = 0

  constructor(onCopyData: (block: CopyDataBlock) => void, onOther: (message: Buffer) => void) {
    this.#onCopyData = onCopyData
    this.#onOther = onOther
  }

  push(chunk: Buffer): void {
    let offset = this.#part ? this.#complete(chunk) : 0
    let blockStart = offset
    const flush = (): void => {
      if (blockStart < offset) this.#onCopyData({ bytes: chunk, start: blockStart, end: offset })
    }
    while (chunk.length - offset >= HEAD_BYTES) {
      const length = chunk.readUInt32BE(offset + 1)
      const end = offset + 1 + length
      if (length < HEAD_BYTES - 1 || end > chunk.length) break
      if (chunk[offset] === COPY_DATA) offset = end
      else {
        flush()
        this.#onOther(chunk.subarray(offset, end))
        blockStart = offset = end
      }
    }
    flush()
    if (offset < chunk.length) this.#begin(chunk, offset)
  }

  #begin(chunk: Buffer, offset: number): void {
    const there = chunk.length - offset
    this.#part = there < HEAD_BYTES ? Buffer.alloc(HEAD_BYTES) : partOf(chunk.readUInt32BE(offset + 1))
    this.#filled = chunk.copy(this.#part, 0, offset)
  }

  /** Goes on with the message that is not complete. @returns how much of the chunk belongs to it */
  #complete(chunk: Buffer): number {
    let offset = 0
    const take = (): void => {
      const taken = chunk.copy(this.#part!, this.#filled, offset)
      this.#filled += taken
      offset += taken
    }
    take()
    // Its head is complete now: its length is known.
    if (this.#part!.length === HEAD_BYTES && this.#filled === HEAD_BYTES) {
      const head = this.#part!
      const whole = partOf(head.readUInt32BE(1))
      head.copy(whole)
      this.#part = whole
      take()
    }
    const part = this.#part!
    if (this.#filled < part.length) return offset
    this.#part = undefined
    if (part[0] === COPY_DATA) this.#onCopyData({ bytes: part, start: 0, end: part.length })
    else this.#onOther(part)
    return offset
  }
}

/** @throws {MigrationError} ProtocolViolation */
function partOf(length: number): Buffer {
  if (length < HEAD_BYTES - 1 || length > MESSAGE_LIMIT) throw protocolViolation(`a message of ${length} bytes`)
  return Buffer.allocUnsafe(1 + length)
}

/**
 * From now on CopyData messages of a connection come here, and everything else goes to node-postgres as before.
 * node-postgres makes two objects and several events of each of them, which takes longer than all that is done
 * with a row afterwards. Call it while nothing is under way.
 */
export function takeCopyData(client: Client, take: (block: CopyDataBlock) => void): void {
  const stream = client.connection.stream as Socket
  const listeners = stream.listeners('data') as ((chunk: Buffer) => void)[]
  stream.removeAllListeners('data')
  const splitter = new MessageSplitter(take, (message) => {
    for (const listener of listeners) listener.call(stream, message)
  })
  stream.on('data', (chunk: Buffer) => {
    try {
      splitter.push(chunk)
    } catch (error) {
      // Nothing may throw inside a socket's event.
      stream.destroy(error as Error)
    }
  })
}
