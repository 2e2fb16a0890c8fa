import type { Lsn } from '../lsn.ts'
import { protocolViolation } from './byte-reader.ts'
import type { CopyDataBlock } from './copy-both.ts'
import type { PgoutputMessage } from './pgoutput-message.ts'
import type { PgoutputDecoder } from './pgoutput.ts'

/** A keepalive stands where it arrived: all that the source sent before it has been read before it. */
export type StreamMessage = PgoutputMessage | { kind: 'keepalive'; walEnd: Lsn }

/** What a walsender puts into CopyData: https://www.postgresql.org/docs/current/protocol-replication.html */
const XLOG_DATA = 0x77 // w
const KEEPALIVE = 0x6b // k
/** Type byte and length of CopyData. */
const COPY_DATA_HEAD = 5
/** Type byte, start and end of the WAL data, time. */
const XLOG_DATA_HEAD = 25

/** Type byte, end of the WAL, time, whether an answer is asked for. */
const KEEPALIVE_BYTES = 18

/**
 * The messages in blocks of CopyData, decoded one by one as they are taken.
 *
 * @param reply answers a keepalive that asks for it
 * @throws {MigrationError} ProtocolViolation
 */
export function* walsenderMessages(
  blocks: readonly CopyDataBlock[],
  decoder: PgoutputDecoder,
  reply: () => void,
): Generator<StreamMessage> {
  for (const { bytes, start, end } of blocks) {
    for (let offset = start; offset < end;) {
      const next = offset + 1 + bytes.readUInt32BE(offset + 1)
      const content = offset + COPY_DATA_HEAD
      const kind = bytes[content]
      if (kind === XLOG_DATA) yield decoder.decode(bytes, Math.min(content + XLOG_DATA_HEAD, next), next)
      else if (kind === KEEPALIVE && next - content === KEEPALIVE_BYTES) {
        // While this waits to be read, the messages that follow the clock keep the connection.
        if (bytes[next - 1] === 1) reply()
        yield { kind: 'keepalive', walEnd: bytes.readBigUInt64BE(content + 1) }
      } else throw protocolViolation(`the walsender message ${kind}`)
      offset = next
    }
  }
}
