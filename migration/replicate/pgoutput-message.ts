import type { Lsn } from '../lsn.ts'
import type { Tuple } from './tuple.ts'

export interface RelationColumn {
  name: string
  /** Part of the replica identity. With REPLICA IDENTITY FULL every column is. */
  key: boolean
  typeOid: number
  typeModifier: number
}

export interface Relation {
  oid: number
  schema: string
  name: string
  /** pg_class.relreplident: default, nothing, full, index. */
  replicaIdentity: 'd' | 'n' | 'f' | 'i'
  columns: RelationColumn[]
}

/** `xid` is there inside a streamed (unfinished) transaction only; `bytes` is the size on the wire. */
export interface InsertMessage {
  kind: 'insert'
  xid?: number
  relation: number
  row: Tuple
  bytes: number
}

export interface UpdateMessage {
  kind: 'update'
  xid?: number
  relation: number
  row: Tuple
  /** K: the old key, where it has changed (all other columns are null and mean nothing). O: the whole old row. */
  old?: { kind: 'K' | 'O'; row: Tuple }
  bytes: number
}

export interface DeleteMessage {
  kind: 'delete'
  xid?: number
  relation: number
  old: { kind: 'K' | 'O'; row: Tuple }
  bytes: number
}

export type RowMessage = InsertMessage | UpdateMessage | DeleteMessage

export interface TruncateMessage {
  kind: 'truncate'
  xid?: number
  relations: number[]
  cascade: boolean
  restartIdentity: boolean
}

export interface BeginMessage {
  kind: 'begin'
  /** Of the commit record. */
  finalLsn: Lsn
  commitTime: number
  xid: number
}

/**
 * The messages of pgoutput, protocol versions 1 to 4. LSNs named `end` are the first byte after the record.
 * https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
 */
export type PgoutputMessage =
  | BeginMessage
  | { kind: 'commit'; commitLsn: Lsn; endLsn: Lsn; commitTime: number }
  | { kind: 'origin'; lsn: Lsn; name: string }
  | { kind: 'relation'; xid?: number; relation: Relation }
  | { kind: 'type'; xid?: number; oid: number; schema: string; name: string }
  | InsertMessage
  | UpdateMessage
  | DeleteMessage
  | TruncateMessage
  | { kind: 'message'; xid?: number; transactional: boolean; lsn: Lsn; prefix: string; content: Buffer }
  | { kind: 'streamStart'; xid: number; first: boolean }
  | { kind: 'streamStop' }
  | { kind: 'streamCommit'; xid: number; commitLsn: Lsn; endLsn: Lsn; commitTime: number }
  | { kind: 'streamAbort'; xid: number; subxid: number; abortLsn?: Lsn; abortTime?: number }
  | {
      kind: 'beginPrepare' | 'prepare' | 'streamPrepare'
      prepareLsn: Lsn
      endLsn: Lsn
      prepareTime: number
      xid: number
      gid: string
    }
  | { kind: 'commitPrepared'; commitLsn: Lsn; endLsn: Lsn; commitTime: number; xid: number; gid: string }
  | {
      kind: 'rollbackPrepared'
      prepareEndLsn: Lsn
      endLsn: Lsn
      prepareTime: number
      rollbackTime: number
      xid: number
      gid: string
    }
