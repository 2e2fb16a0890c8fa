import type { Lsn } from '../../migration/lsn.ts'

export const APPLIERS = ['pgflex', 'native'] as const
export type ApplierName = (typeof APPLIERS)[number]

/** What the process of an applier itself has used. */
export interface OwnUse {
  /** s of processor time, from its beginning until its end. */
  userSeconds: number
  systemSeconds: number
  /** Greatest resident size of the process. */
  peakRssBytes: number
}

/** Something that brings the changes of the source into a database of the target, from a slot made beforehand. */
export interface Applier extends AsyncDisposable {
  name: ApplierName
  /** Its database on the target. */
  database: string
  /** Begins to apply. @param until where the backlog ends; without it, it goes on until {@link end} */
  begin(until?: Lsn): Promise<void>
  /** @throws when it has failed in the meantime */
  check(): Promise<void>
  /** Waits until it has stopped. @returns what it has used, where that can be told */
  end(): Promise<OwnUse | undefined>
  /** Removes what it has on the servers. */
  remove(): Promise<void>
}
