import type { Lsn } from '../lsn.ts'
import { ByteReader, protocolViolation } from './byte-reader.ts'
import type {
  DeleteMessage,
  InsertMessage,
  PgoutputMessage,
  Relation,
  TruncateMessage,
  UpdateMessage,
} from './pgoutput-message.ts'
import type { Tuple } from './tuple.ts'

/** Decodes one message after the other; between StreamStart and StreamStop most of them carry a transaction id. */
export class PgoutputDecoder {
  readonly #reader: ByteReader
  #streaming = false

  constructor({ binary = false }: { binary?: boolean } = {}) {
    this.#reader = new ByteReader(binary)
  }

  /**
   * Reads the message that stands in these bytes. Its rows stay views of them.
   *
   * @throws {MigrationError} ProtocolViolation for anything that pgoutput does not send
   */
  decode(bytes: Buffer, start = 0, end = bytes.length): PgoutputMessage {
    const reader = this.#reader
    reader.read(bytes, start, end)
    const message = this.#message(reader, end - start)
    reader.end()
    return message
  }

  #message(reader: ByteReader, bytes: number): PgoutputMessage {
    const code = reader.uint8()
    switch (code) {
      case 0x49: // I
        return this.#streaming ? { xid: reader.uint32(), ...insert(reader, bytes) } : insert(reader, bytes)
      case 0x55: // U
        return this.#streaming ? { xid: reader.uint32(), ...update(reader, bytes) } : update(reader, bytes)
      case 0x44: // D
        return this.#streaming ? { xid: reader.uint32(), ...remove(reader, bytes) } : remove(reader, bytes)
      case 0x42: // B
        return { kind: 'begin', finalLsn: reader.lsn(), commitTime: reader.time(), xid: reader.uint32() }
      case 0x43: // C
        flags(reader)
        return { kind: 'commit', commitLsn: reader.lsn(), endLsn: reader.lsn(), commitTime: reader.time() }
      case 0x4f: // O
        return { kind: 'origin', lsn: reader.lsn(), name: reader.cstring() }
      case 0x52: // R
        return { kind: 'relation', ...this.#xid(reader), relation: relation(reader) }
      case 0x59: // Y
        return {
          kind: 'type',
          ...this.#xid(reader),
          oid: reader.uint32(),
          schema: reader.cstring(),
          name: reader.cstring(),
        }
      case 0x54: // T
        return { kind: 'truncate', ...this.#xid(reader), ...truncate(reader) }
      case 0x4d: // M
        return { kind: 'message', ...this.#xid(reader), ...logicalMessage(reader) }
      default:
        return this.#unfinished(code, reader)
    }
  }

  /** The messages of transactions that are streamed before their end, or prepared (protocol 2 and later). */
  #unfinished(code: number, reader: ByteReader): PgoutputMessage {
    switch (code) {
      case 0x53: // S
        this.#streaming = true
        return { kind: 'streamStart', xid: reader.uint32(), first: reader.uint8() === 1 }
      case 0x45: // E
        this.#streaming = false
        return { kind: 'streamStop' }
      case 0x63: {
        // c
        const xid = reader.uint32()
        flags(reader)
        return { kind: 'streamCommit', xid, commitLsn: reader.lsn(), endLsn: reader.lsn(), commitTime: reader.time() }
      }
      case 0x41: {
        // A; LSN and time with streaming 'parallel' only
        const ids = { xid: reader.uint32(), subxid: reader.uint32() }
        const point = reader.remaining > 0 ? { abortLsn: reader.lsn(), abortTime: reader.time() } : {}
        return { kind: 'streamAbort', ...ids, ...point }
      }
      case 0x62: // b
        return { kind: 'beginPrepare', ...prepared(reader) }
      case 0x50: // P
        flags(reader)
        return { kind: 'prepare', ...prepared(reader) }
      case 0x70: // p
        flags(reader)
        return { kind: 'streamPrepare', ...prepared(reader) }
      case 0x4b: // K
        flags(reader)
        return {
          kind: 'commitPrepared',
          commitLsn: reader.lsn(),
          endLsn: reader.lsn(),
          commitTime: reader.time(),
          xid: reader.uint32(),
          gid: reader.cstring(),
        }
      case 0x72: // r
        flags(reader)
        return {
          kind: 'rollbackPrepared',
          prepareEndLsn: reader.lsn(),
          endLsn: reader.lsn(),
          prepareTime: reader.time(),
          rollbackTime: reader.time(),
          xid: reader.uint32(),
          gid: reader.cstring(),
        }
      default:
        throw protocolViolation(`the unknown message type ${code}`)
    }
  }

  #xid(reader: ByteReader): { xid?: number } {
    return this.#streaming ? { xid: reader.uint32() } : {}
  }
}

/** Unused so far, always 0: another value would change the meaning of the message. */
function flags(reader: ByteReader): void {
  const value = reader.uint8()
  if (value !== 0) throw protocolViolation(`the unknown flags ${value}`)
}

function prepared(reader: ByteReader): { prepareLsn: Lsn; endLsn: Lsn; prepareTime: number; xid: number; gid: string } {
  return {
    prepareLsn: reader.lsn(),
    endLsn: reader.lsn(),
    prepareTime: reader.time(),
    xid: reader.uint32(),
    gid: reader.cstring(),
  }
}

function relation(reader: ByteReader): Relation {
  const oid = reader.uint32()
  // An empty name means pg_catalog.
  const schema = reader.cstring() || 'pg_catalog'
  const name = reader.cstring()
  const replicaIdentity = String.fromCharCode(reader.uint8())
  if (!isReplicaIdentity(replicaIdentity)) throw protocolViolation(`the replica identity "${replicaIdentity}"`)
  const columns = count(reader, reader.uint16(), 10)
  return {
    oid,
    schema,
    name,
    replicaIdentity,
    columns: Array.from({ length: columns }, () => ({
      key: (reader.uint8() & 1) === 1,
      name: reader.cstring(),
      typeOid: reader.uint32(),
      typeModifier: reader.int32(),
    })),
  }
}

function isReplicaIdentity(text: string): text is Relation['replicaIdentity'] {
  return text === 'd' || text === 'n' || text === 'f' || text === 'i'
}

function insert(reader: ByteReader, bytes: number): InsertMessage {
  return { kind: 'insert', relation: reader.uint32(), row: newTuple(reader), bytes }
}

function update(reader: ByteReader, bytes: number): UpdateMessage {
  const relation_ = reader.uint32()
  const kind = reader.uint8()
  if (kind === 0x4e) return { kind: 'update', relation: relation_, row: reader.tuple(), bytes }
  const old = { kind: oldKind(kind), row: reader.tuple() }
  return { kind: 'update', relation: relation_, old, row: newTuple(reader), bytes }
}

function remove(reader: ByteReader, bytes: number): DeleteMessage {
  return { kind: 'delete', relation: reader.uint32(), old: oldTuple(reader), bytes }
}

function newTuple(reader: ByteReader): Tuple {
  const kind = reader.uint8()
  if (kind !== 0x4e) throw protocolViolation(`the tuple type ${kind} in place of a new row`)
  return reader.tuple()
}

function oldTuple(reader: ByteReader): { kind: 'K' | 'O'; row: Tuple } {
  return { kind: oldKind(reader.uint8()), row: reader.tuple() }
}

function oldKind(kind: number): 'K' | 'O' {
  if (kind === 0x4b) return 'K'
  if (kind === 0x4f) return 'O'
  throw protocolViolation(`the tuple type ${kind} in place of an old row`)
}

function truncate(reader: ByteReader): Pick<TruncateMessage, 'relations' | 'cascade' | 'restartIdentity'> {
  const relations = count(reader, reader.uint32(), 4)
  const options = reader.uint8()
  return {
    relations: Array.from({ length: relations }, () => reader.uint32()),
    cascade: (options & 1) !== 0,
    restartIdentity: (options & 2) !== 0,
  }
}

function logicalMessage(reader: ByteReader): { transactional: boolean; lsn: Lsn; prefix: string; content: Buffer } {
  return {
    transactional: (reader.uint8() & 1) !== 0,
    lsn: reader.lsn(),
    prefix: reader.cstring(),
    content: reader.blob(),
  }
}

/** A number of items can't be greater than what is left of the message has room for. */
function count(reader: ByteReader, items: number, bytesEach: number): number {
  if (items * bytesEach > reader.remaining) throw protocolViolation(`${items} items in ${reader.remaining} bytes`)
  return items
}
