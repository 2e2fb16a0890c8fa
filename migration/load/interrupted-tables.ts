import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import type { TableName } from './tables.ts'

/** As many as a batch has (plan-batches.ts); Offline, there may be more of them, and the rest is counted. */
const NAMES_SHOWN = 250

/**
 * Tells which tables were under way when their last copy ended without a word: its process was killed, or its host
 * lost. They are copied again, large ones from where their ranges stand if the snapshot is still there. Call it with the lease of the batch in hand, before anything is begun.
 *
 * @param batch all batches when there is none
 */
export async function reportInterrupted(context: DatabaseContext, control: Connection, batch?: number): Promise<void> {
  const { rows } = await control.query<TableName>(
    `select schema_name as schema, table_name as name
       from pgflex.table_copy
      where state = 'loading' and ($1::int is null or batch = $1)
      order by schema_name, table_name`,
    [batch ?? null],
  )
  if (rows.length === 0) return
  const names = rows.slice(0, NAMES_SHOWN).map(({ schema, name }) => `${schema}.${name}`)
  const rest = rows.length - names.length
  await context.event({
    level: 'warning',
    event: 'CopyInterrupted',
    message: `The copy of these tables was interrupted, and is done again: ${names.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}.`,
  })
}
