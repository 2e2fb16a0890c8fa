import type pg from 'pg'
import { LEDGER, LEDGER_ROWS } from './sample-ledger.ts'
import { SHOP, SHOP_ROWS } from './sample-shop.ts'

/** The databases of the demo. */
export type SampleDatabase = 'shop' | 'ledger'

export const SAMPLE_DATABASES: readonly SampleDatabase[] = ['shop', 'ledger']

/**
 * Makes the tables of a sample database and fills them; `app` is a session of the role that owns the database,
 * an ordinary one.
 */
export async function createSampleDatabase(app: pg.Client, database: SampleDatabase): Promise<void> {
  const [schema, rows] = database === 'shop' ? [SHOP, SHOP_ROWS] : [LEDGER, LEDGER_ROWS]
  // The rows are the same whatever the session's settings: money, dates and floats are written as text.
  await app.query(`set datestyle = 'ISO'; set timezone = 'UTC'; set lc_monetary = 'C'`)
  await app.query(schema)
  await app.query(rows)
  await app.query('reset all')
  await app.query('analyze')
}
