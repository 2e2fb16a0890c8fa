import type { Use } from '../process-watch.ts'

export const LOADERS = ['pgflex', 'pgcopydb', 'pg_dump', 'copy'] as const
export type LoaderName = (typeof LOADERS)[number]

/** What a load has taken. */
export interface Load {
  loader: LoaderName
  /** From its start until everything is there: schema, data, indexes, constraints and statistics, as far as it does them. */
  seconds: number
  /** Of them, for the data alone, where that can be told. */
  dataSeconds: number | null
  /** What its own processes have used; null where it can't be told. */
  own: Use | null
}

/** What a loader is told besides where. */
export interface LoadOptions {
  /** Tables, or parts of them, and indexes at a time. */
  jobs: number
  signal: AbortSignal
  /** s; it is stopped then. */
  limitSeconds: number
}
