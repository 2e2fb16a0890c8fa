import type { DatabaseContext } from '../context.ts'
import { loadWidth, storeLoadWidth } from './load-jobs.ts'
import { planLoad } from './plan-load.ts'

/** Plans the load of a database. Idempotent: tables that are copied stay copied. */
export async function planDatabaseLoad(context: DatabaseContext): Promise<{ tables: number; width: number }> {
  await context.status({ phase: 'CopyingData' })
  const { tables, bytes, batches, pieces } = await planLoad(context)
  // One moment in time means one session that holds its snapshot: Offline is one activity with several streams.
  const width =
    context.record.properties.migrationMode === 'Offline' ? 1 : Math.max(1, Math.min(pieces, await loadWidth(context)))
  await storeLoadWidth(context, width)
  await context.event({
    level: 'info',
    event: 'LoadPlanned',
    message: `${tables} tables of ${bytes} bytes in ${batches} batches, ${width} at a time.`,
  })
  return { tables, width }
}
