import type { Lsn } from '../../migration/lsn.ts'
import type { Watched } from '../process-watch.ts'

export const APPLIERS = ['pgflex', 'native', 'pgcopydb'] as const
export type ApplierName = (typeof APPLIERS)[number]

/** What the processes of an applier itself have used. */
export interface OwnUse {
  /** s of processor time, from its beginning until its end. */
  userSeconds: number
  systemSeconds: number
  /** Greatest resident size. */
  peakRssBytes: number
}

/** Something that brings the changes of the source into a database of the target, from a slot made beforehand. */
export interface Applier extends AsyncDisposable {
  name: ApplierName
  /** Its database on the target. */
  database: string
  /** Its own processes, where it has some besides those of the servers. */
  process?: Watched
  /** What has to be done after the backlog was made and is no part of the measurement. */
  prepare?(until: Lsn): Promise<void>
  /** Begins to apply. @param until where the backlog ends; without it, it goes on until {@link end} */
  begin(until?: Lsn): Promise<void>
  /** @throws when it has failed in the meantime */
  check(): Promise<void>
  /** Share (0 to 1) of the backlog that it has applied, where it can tell. */
  progress?(): Promise<number>
  /** What it has said of errors, where it says something. */
  complaints?(): string
  /** Waits until it has stopped, or stops it when the time is up. @returns what it has used, where it knows it itself */
  end(stopped?: boolean): Promise<OwnUse | undefined>
  /** Removes what it has on the servers. */
  remove(): Promise<void>
}
