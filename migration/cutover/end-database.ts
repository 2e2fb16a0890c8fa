import type { DatabaseContext } from '../context.ts'
import { controlSchemaOwner, dropControlSchema } from '../control/control-schema.ts'
import { errorText, isTransient } from '../errors.ts'
import type { DatabaseOutcome } from '../model/activity.ts'
import { isWayBackOn, removeWayBack } from '../fallback/way-back.ts'
import { dropPublicationAndSlot } from '../replicate/replication-slot.ts'
import { analyzeTables } from '../schema/analyze.ts'
import { reportPostData } from '../schema/report-post-data.ts'
import { validateForeignKeys } from '../schema/validate-foreign-keys.ts'
import { archiveDatabase } from './archive-database.ts'
import { databasesEnded, endMigration, hasEnded } from './end-migration.ts'
import { letWritesIn } from './freeze-source.ts'
import { connectIfThere } from './target-if-there.ts'

/** ms; how long a server that cannot be reached may hold up the end; after that, what remains there is told. */
const CLEANUP_LIMIT_MS = 10 * 60_000

/**
 * Ends the migration of a database, in whatever way: validates foreign keys after a cutover, lets writes in
 * again on the source when there was none, keeps what the status pages show, and removes slot, publication
 * and control schema. Each part is idempotent.
 *
 * @param asked the outcome; a database that has been cut over has succeeded, also when it was cancelled too late
 * @returns finished false when the host stops in between: call it again
 */
export async function endDatabase(
  context: DatabaseContext,
  asked: DatabaseOutcome,
): Promise<{ finished: boolean; fallback?: boolean }> {
  const { phase, endedOn, cutover } = await context.status((status) =>
    hasEnded(status)
      ? status
      : {
          ...status,
          phase: 'CleaningUp',
          endedOn: status.endedOn ?? new Date().toISOString(),
          ...(asked.state === 'Canceled' && status.cutover?.endedAt === undefined
            ? { migrationState: 'Canceling' as const }
            : {}),
        },
  )
  // The applications have been told to go to the target: writes must not be let in on the source any more.
  const outcome: DatabaseOutcome = cutover?.endedAt === undefined ? asked : { state: 'Succeeded' }
  if (phase === 'Ended') {
    // A call that died after its last write: the secrets may be gone, and there is nothing more to clean.
    await endServerSide(context)
    return { finished: true, fallback: await isWayBackOn(context) }
  }
  const late = Date.now() - Date.parse(endedOn!) > CLEANUP_LIMIT_MS
  const remains: string[] = []
  /** Runs one part; a server that is away is waited for, within limits. */
  const part = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (isTransient(error) && !late) throw error
      remains.push(`${what}: ${errorText(error)}`)
    }
  }
  if (outcome.state === 'Succeeded') {
    await part('Foreign keys were not all validated on the target', async () =>
      reportPostData(context, await validateForeignKeys(context)),
    )
    // What was followed since the load may be far more than the load, and autovacuum comes in its own time.
    await part('Statistics were not all collected on the target (analyze)', async () => {
      const { warnings } = await analyzeTables(context, { changedOnly: true })
      await reportPostData(context, { applied: 0, failed: [], warnings })
    })
  } else {
    await part(`Writes may still be stopped on the source (alter database … reset default_transaction_read_only)`, () =>
      letWritesIn(context, (status) => status.phase === 'CleaningUp'),
    )
    await part('The slot of the way back may remain on the target (pg_replication_slots)', () => removeWayBack(context))
  }
  if (context.draining.aborted) return { finished: false }
  await part('The history of this migration was not kept', () => archiveDatabase(context))
  await part(
    'The replication slot and publication may remain on the source (pg_replication_slots, pg_publication)',
    () => dropPublicationAndSlot(context),
  )
  await part('The schema pgflex may remain on the target', () => removeControlSchema(context))

  await context.event({
    level: outcome.state === 'Failed' ? 'error' : 'info',
    event: `Database${outcome.state}`,
    message: outcome.message ?? `"${context.database}": ${outcome.state}.`,
  })
  await context.status((status) => ({
    ...status,
    phase: 'Ended',
    migrationState: outcome.state,
    message: [outcome.message, ...remains].filter((text) => text !== undefined).join(' ') || undefined,
    warnings: [...new Set([...status.warnings, ...remains])],
  }))
  await endServerSide(context)
  return { finished: true, fallback: await isWayBackOn(context) }
}

async function endServerSide(context: DatabaseContext): Promise<void> {
  if ((await databasesEnded(context)).ended) await endMigration(context)
}

async function removeControlSchema(context: DatabaseContext): Promise<void> {
  await using target = await connectIfThere(context)
  if (target && (await controlSchemaOwner(target)) === context.key) await dropControlSchema(target)
}
