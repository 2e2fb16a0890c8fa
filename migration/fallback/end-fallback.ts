import type { DatabaseContext } from '../context.ts'
import { controlSchemaOwner } from '../control/control-schema.ts'
import { databasesEnded, endMigration } from '../cutover/end-migration.ts'
import { letWritesIn } from '../cutover/freeze-source.ts'
import { connectIfThere } from '../cutover/target-if-there.ts'
import { errorText, isTransient } from '../errors.ts'
import { fallbackState } from '../model/fallback.ts'
import type { DatabaseStatus } from '../model/status.ts'
import { dropPublicationAndSlot } from '../replicate/replication-slot.ts'
import { sourceObjects } from '../replicate/slot-name.ts'
import { restoreIdentityColumns } from '../schema/identity-columns.ts'
import { reportPostData } from '../schema/report-post-data.ts'
import { validateForeignKeys } from '../schema/validate-foreign-keys.ts'
import { id } from '../sql.ts'
import { reversed } from './reversed-context.ts'
import { dropBackSlot, removeBackSchema } from './way-back.ts'

/** ms; how long an old server that cannot be reached may hold up the end; after that, what remains there is told. */
const CLEANUP_LIMIT_MS = 10 * 60_000

/** ms; a new server that has been away for so long is lost: days of trying to drop its slot would help nobody. */
const LOST_MS = 24 * 3600_000

/** For identity columns; tried again until {@link CLEANUP_LIMIT_MS} is over. */
const LOCK_TIMEOUT = '1s'

/**
 * Ends the way back, used or not: slot and publications on the new server, then the control schema on the old one, then
 * the secrets. Each part is idempotent, and neither server has to be there for what concerns the other one.
 *
 * @param failure why it cannot go on, in words; absent when the user has ended it or it was used
 * @returns finished false when the host stops in between: call it again
 */
export async function endFallback(context: DatabaseContext, failure?: string): Promise<{ finished: boolean }> {
  const back = reversed(context)
  const before = await back.status((status) =>
    status.phase === 'Ended' || status.phase === 'CleaningUp'
      ? status
      : { ...status, phase: 'CleaningUp', endedOn: new Date().toISOString() },
  )
  if (before.phase === 'Ended') {
    await endServerSide(context)
    return { finished: true }
  }
  const late = Date.now() - Date.parse(before.endedOn!) > CLEANUP_LIMIT_MS
  const remains: string[] = []
  const [slotFailure] = await Promise.allSettled([leaveNewServer(context, before)])
  if (context.draining.aborted) return { finished: false }
  const part = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (isTransient(error) && !late) throw error
      remains.push(`${what}: ${errorText(error)}`)
    }
  }
  await part('Identity columns of the source may still be "by default" instead of "always"', () =>
    restoreIdentity(back),
  )
  if (before.cutover?.decidedAt !== undefined) {
    await part('Foreign keys of new tables were not all validated on the source', () => validateNewKeys(back))
  }
  if (context.draining.aborted) return { finished: false }
  await part('The schema pgflex may remain on the source', () => removeBackSchema(context))
  // Where the source was away when the migration ended.
  await part('The slot of the migration may remain on the source', () => dropPublicationAndSlot(context))
  if (slotFailure.status === 'rejected') {
    // A slot that nobody reads fills the disk of the server that is in use. One that is lost takes it along.
    const isLost = Date.now() - Date.parse(before.endedOn!) > LOST_MS
    if (!isLost) throw slotFailure.reason
    remains.push(`The slot may remain on the new server: ${errorText(slotFailure.reason)}`)
  }
  await told(context, failure, remains)
  await endServerSide(context)
  return { finished: true }
}

/** Other databases of the migration may still be on their way. */
async function endServerSide(context: DatabaseContext): Promise<void> {
  if ((await databasesEnded(context)).ended) await endMigration(context)
}

/** Lets writes in, if an attempt to switch back has ended without, and drops slot and publications. */
async function leaveNewServer(context: DatabaseContext, { cutover }: DatabaseStatus): Promise<void> {
  if (cutover?.decidedAt === undefined) await letWritesIn(reversed(context))
  await dropBackSlot(reversed(context))
}

async function restoreIdentity(back: DatabaseContext): Promise<void> {
  await using old = await connectIfThere(back)
  if (!old || (await controlSchemaOwner(old)) !== back.key) return
  // After a switch back, applications are at work there: they must not queue up behind us.
  await old.query(`set lock_timeout = '${LOCK_TIMEOUT}'`)
  await restoreIdentityColumns(old)
}

async function validateNewKeys(back: DatabaseContext): Promise<void> {
  {
    await using old = await connectIfThere(back)
    if (!old || (await controlSchemaOwner(old)) !== back.key) return
  }
  await reportPostData(back, await validateForeignKeys(back))
}

async function told(context: DatabaseContext, failure: string | undefined, remains: string[]): Promise<void> {
  const back = reversed(context)
  const status = await back.status((current) => current)
  const { slot } = sourceObjects(back.key, back.database)
  const name = id(context.database)
  const letIn = `alter database ${name} reset default_transaction_read_only;`
  const words =
    fallbackState(status) === 'SwitchedBack'
      ? `Switched back. The new server is read-only; to let writes in there, run: ${letIn}`
      : `${failure === undefined ? 'The way back was ended.' : `The way back has failed: ${failure}`} The old source is not followed any more, and stays as it is; to let writes in there, run: ${letIn}`
  const message = [words, ...remains].join(' ')
  await back.status((current) => ({
    ...current,
    phase: 'Ended',
    migrationState: failure === undefined ? 'Succeeded' : 'Failed',
    message,
    slot: undefined,
    // What they say of the slot is over with it.
    warnings: [...current.warnings.filter((warning) => !warning.includes(slot)), ...remains],
  }))
  await context.event({
    level: failure === undefined ? 'info' : 'error',
    event: 'FallbackEnded',
    message: `"${context.database}": ${message}`,
  })
}
