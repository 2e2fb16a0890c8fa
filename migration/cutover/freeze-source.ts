import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { checkFence, type Lease } from '../control/lease.ts'
import { MigrationError } from '../errors.ts'
import type { DatabaseStatus } from '../model/status.ts'
import { readDatabaseStatus } from '../store/migrations.ts'
import { freezeWrites, readFreezeSetting, unfreezeWrites, type FrozenFrom } from './freeze-writes.ts'

/**
 * Freezes the source, once it is remembered how to undo that: in the documents, since the target may be away
 * when it has to be undone. A copy of this activity that stood still while another one went on freezes nothing.
 */
export async function freezeSource(context: DatabaseContext, lease: Lease, target: Connection): Promise<object> {
  await remember(context)
  const { tolerated } = await freezeWrites(context, async () => {
    await checkFence(target, lease)
    // The same in the status: see underFence.
    await context.status((status) => status)
  })
  if (tolerated.length > 0) {
    await context.event({
      level: 'warning',
      event: 'SessionsLeft',
      message: `Sessions of ${tolerated.join(', ')} stay on the source: our role may not end them, and they hold no lock of a writer.`,
    })
  }
  return {}
}

/**
 * After a failover of the source to a standby that had not received it, nobody is stopped any more.
 *
 * @throws {MigrationError} FreezeLost
 */
export async function requireFreeze(context: DatabaseContext): Promise<void> {
  await using source = await context.source('freeze setting')
  if ((await readFreezeSetting(source)).previous === 'on') return
  throw new MigrationError(
    'FreezeLost',
    `Writes are let in on the source: somebody has reset default_transaction_read_only of "${context.database}", or the source has failed over to a server without it.`,
    { hint: 'Leave it as it is during the cutover, and cut over again.' },
  )
}

/** What the database had before, read once: a second look would find our own setting. */
async function remember(context: DatabaseContext): Promise<FrozenFrom> {
  const { freeze } = await readDatabaseStatus(context.documents, context.key, context.database)
  if (freeze) return freeze
  await using source = await context.source('freeze setting')
  const setting = await readFreezeSetting(source)
  return (await context.status((status) => ({ ...status, freeze: status.freeze ?? setting }))).freeze!
}

/**
 * Lets writes in again on the source, if they were frozen. Idempotent; needs no target.
 *
 * @param isWanted asked when the session is open: a copy of the caller that stood still, while another one was done and
 *   a later cutover froze again, changes nothing
 */
export async function letWritesIn(
  context: DatabaseContext,
  isWanted: (status: DatabaseStatus) => boolean = () => true,
): Promise<void> {
  const read = (): Promise<DatabaseStatus> => readDatabaseStatus(context.documents, context.key, context.database)
  const { freeze } = await read()
  if (freeze === undefined) return
  await unfreezeWrites(context, freeze, async () => {
    const now = await read()
    return now.freeze !== undefined && isWanted(now)
  })
  await context.status((status) => (isWanted(status) ? { ...status, freeze: undefined } : status))
}
