import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { checkFence, type Lease } from '../control/lease.ts'
import { readDatabaseStatus } from '../store/migrations.ts'
import { freezeWrites, readFreezeSetting, unfreezeWrites, type FrozenFrom } from './freeze-writes.ts'

/**
 * Freezes the source, once it is remembered how to undo that: in the documents, since the target may be away
 * when it has to be undone. A copy of this activity that stood still while another one called the cutover off
 * undoes its own freeze.
 */
export async function freezeSource(context: DatabaseContext, lease: Lease, target: Connection): Promise<object> {
  const before = await remember(context)
  await checkFence(target, lease)
  const { tolerated } = await freezeWrites(context)
  try {
    await checkFence(target, lease)
  } catch (error) {
    const { freeze } = await readDatabaseStatus(context.documents, context.key, context.database)
    if (freeze === undefined) await unfreezeWrites(context, before)
    throw error
  }
  if (tolerated.length > 0) {
    await context.event({
      level: 'warning',
      event: 'SessionsLeft',
      message: `Sessions of ${tolerated.join(', ')} stay on the source: our role may not end them, and they hold no lock of a writer.`,
    })
  }
  return {}
}

/** What the database had before, read once: a second look would find our own setting. */
async function remember(context: DatabaseContext): Promise<FrozenFrom> {
  const { freeze } = await readDatabaseStatus(context.documents, context.key, context.database)
  if (freeze) return freeze
  await using source = await context.source('freeze')
  const setting = await readFreezeSetting(source)
  return (await context.status((status) => ({ ...status, freeze: status.freeze ?? setting }))).freeze!
}

/** Lets writes in again on the source, if they were frozen. Idempotent; needs no target. */
export async function letWritesIn(context: DatabaseContext): Promise<void> {
  const { freeze } = await readDatabaseStatus(context.documents, context.key, context.database)
  if (freeze === undefined) return
  await unfreezeWrites(context, freeze)
  await context.status((status) => ({ ...status, freeze: undefined }))
}
