export const SHAPES = ['pgbench', 'insert', 'update', 'delete', 'toast', 'many-tables'] as const
export type ShapeName = (typeof SHAPES)[number]

/** A kind of backlog: what is there before, and what happens on the source. */
export interface Shape {
  name: ShapeName
  /** In words, for the reader of the figures. */
  about: string
  /** Makes the tables with their first rows, the same on each side. */
  tables: string
  /** Makes the procedures that the source's sessions call. */
  procedures: string
  /** The calls, one for each concurrent session. */
  calls: string[]
  /** What the calls come to. */
  transactions: number
  changes: number
}

/** Sessions that make a backlog at the same time unless told otherwise, so that their transactions interleave in the WAL. */
export const SESSIONS = 4

/** How much a backlog of small transactions has. */
export interface Amount {
  transactions: number
  sessions: number
}

/** A whole number of transactions for each session. */
export function perSession({ transactions, sessions }: Amount): number {
  return Math.max(1, Math.round(transactions / sessions))
}

/** One statement for each session, given its number from 0. */
export function eachSession(sessions: number, call: (session: number) => string): string[] {
  return Array.from({ length: sessions }, (_, session) => call(session))
}
