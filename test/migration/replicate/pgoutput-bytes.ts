import type { PgoutputMessage, Relation } from '../../../migration/replicate/pgoutput-message.ts'
import { tupleValues, UNCHANGED, type Tuple } from '../../../migration/replicate/tuple.ts'

const int = (bytes: number, value: number | bigint): Buffer => {
  const buffer = Buffer.alloc(bytes)
  if (bytes === 8) buffer.writeBigUInt64BE(BigInt.asUintN(64, BigInt(value)))
  else buffer.writeUIntBE(Number(value) >>> 0, 0, bytes)
  return buffer
}
const text = (value: string): Buffer => Buffer.from(`${value}\0`)
const letter = (value: string): Buffer => Buffer.from(value)
const time = (ms: number): Buffer => int(8, BigInt(Math.round((ms - 946_684_800_000) * 1000)))

function tuple(row: Tuple): Buffer {
  return Buffer.concat([
    int(2, row.columns),
    ...tupleValues(row).map((value) => {
      if (value === null) return letter('n')
      if (value === UNCHANGED) return letter('u')
      return Buffer.concat([letter('t'), int(4, value.length), value])
    }),
  ])
}

function relation({ oid, schema, name, replicaIdentity, columns }: Relation): Buffer[] {
  return [
    int(4, oid),
    text(schema === 'pg_catalog' ? '' : schema),
    text(name),
    letter(replicaIdentity),
    int(2, columns.length),
    ...columns.flatMap((column) => [
      int(1, column.key ? 1 : 0),
      text(column.name),
      int(4, column.typeOid),
      int(4, column.typeModifier),
    ]),
  ]
}

/** The bytes that the source sends for a message. */
export function pgoutputBytes(message: PgoutputMessage): Buffer {
  const xid = 'xid' in message && message.xid !== undefined ? [int(4, message.xid)] : []
  const parts = ((): Buffer[] => {
    switch (message.kind) {
      case 'begin':
        return [letter('B'), int(8, message.finalLsn), time(message.commitTime), int(4, message.xid)]
      case 'commit':
        return [letter('C'), int(1, 0), int(8, message.commitLsn), int(8, message.endLsn), time(message.commitTime)]
      case 'origin':
        return [letter('O'), int(8, message.lsn), text(message.name)]
      case 'relation':
        return [letter('R'), ...xid, ...relation(message.relation)]
      case 'type':
        return [letter('Y'), ...xid, int(4, message.oid), text(message.schema), text(message.name)]
      case 'insert':
        return [letter('I'), ...xid, int(4, message.relation), letter('N'), tuple(message.row)]
      case 'update': {
        const old = message.old ? [letter(message.old.kind), tuple(message.old.row)] : []
        return [letter('U'), ...xid, int(4, message.relation), ...old, letter('N'), tuple(message.row)]
      }
      case 'delete':
        return [letter('D'), ...xid, int(4, message.relation), letter(message.old.kind), tuple(message.old.row)]
      case 'truncate': {
        const options = (message.cascade ? 1 : 0) | (message.restartIdentity ? 2 : 0)
        const oids = message.relations.map((oid) => int(4, oid))
        return [letter('T'), ...xid, int(4, oids.length), int(1, options), ...oids]
      }
      case 'message':
        return [
          letter('M'),
          ...xid,
          int(1, message.transactional ? 1 : 0),
          int(8, message.lsn),
          text(message.prefix),
          int(4, message.content.length),
          message.content,
        ]
      case 'streamStart':
        return [letter('S'), int(4, message.xid), int(1, message.first ? 1 : 0)]
      case 'streamStop':
        return [letter('E')]
      case 'streamCommit':
        return [
          letter('c'),
          int(4, message.xid),
          int(1, 0),
          int(8, message.commitLsn),
          int(8, message.endLsn),
          time(message.commitTime),
        ]
      case 'streamAbort': {
        const point =
          message.abortLsn === undefined ? [] : [int(8, message.abortLsn), time(message.abortTime ?? 946_684_800_000)]
        return [letter('A'), int(4, message.xid), int(4, message.subxid), ...point]
      }
      case 'beginPrepare':
      case 'prepare':
      case 'streamPrepare': {
        const code = { beginPrepare: 'b', prepare: 'P', streamPrepare: 'p' }[message.kind]
        const flags = message.kind === 'beginPrepare' ? [] : [int(1, 0)]
        const points = [int(8, message.prepareLsn), int(8, message.endLsn), time(message.prepareTime)]
        return [letter(code), ...flags, ...points, int(4, message.xid), text(message.gid)]
      }
      case 'commitPrepared':
        return [
          letter('K'),
          int(1, 0),
          int(8, message.commitLsn),
          int(8, message.endLsn),
          time(message.commitTime),
          int(4, message.xid),
          text(message.gid),
        ]
      case 'rollbackPrepared':
        return [
          letter('r'),
          int(1, 0),
          int(8, message.prepareEndLsn),
          int(8, message.endLsn),
          time(message.prepareTime),
          time(message.rollbackTime),
          int(4, message.xid),
          text(message.gid),
        ]
      default:
        throw new Error('unknown message')
    }
  })()
  return Buffer.concat(parts)
}
