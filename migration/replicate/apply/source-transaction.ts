import type { Lsn } from '../../lsn.ts'
import type { BeginMessage } from '../pgoutput-message.ts'

/** A source transaction whose messages are arriving. */
export interface SourceTransaction {
  xid: number
  finalLsn: Lsn
  /** ms */
  commitTime: number
  /** It has been applied already. */
  skip: boolean
  /** At least one of its changes is applied. */
  changed: boolean
}

/** @param appliedLsn the end of the last commit that has been applied */
export function beginSource({ xid, finalLsn, commitTime }: BeginMessage, appliedLsn: Lsn): SourceTransaction {
  // A commit that begins before the end of another one ends at or before it.
  return { xid, finalLsn, commitTime, skip: finalLsn < appliedLsn, changed: false }
}
