import type pg from 'pg'
import type { Random } from './random.ts'

/** Runs a statement in the transaction. */
export type Sql = (text: string, values?: unknown[]) => Promise<pg.QueryResult<Record<string, unknown>>>

export interface WorkloadTransaction {
  name: string
  /** How often it runs, relative to the others. */
  weight: number
  run(sql: Sql, random: Random): Promise<unknown>
}
