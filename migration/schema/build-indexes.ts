import type { DatabaseContext } from '../context.ts'
import { MigrationError } from '../errors.ts'
import { copyExtensionTables } from '../load/copy-extension-tables.ts'
import { watchSlot } from '../replicate/retained-wal-watch.ts'
import { applyPostData, planPostData } from './apply-post-data.ts'
import { reportPostData } from './report-post-data.ts'

/**
 * Builds what {@link startIndexes} has not: indexes, constraints and the statistics of each table. Idempotent: each
 * statement is done once.
 *
 * @returns finished false when the host stops in between: call it again
 * @throws {MigrationError} ObjectsFailed when an index or constraint cannot be built, Offline
 */
export async function buildIndexes(context: DatabaseContext): Promise<{ finished: boolean }> {
  await context.status({ phase: 'BuildingIndexes' })
  await using _slot = context.record.properties.migrationMode === 'Online' ? watchSlot(context) : undefined
  await planPostData(context)
  const result = await applyPostData(context, 'load')
  if (context.draining.aborted) return { finished: false }
  const offline = context.record.properties.migrationMode === 'Offline'
  const fatal = result.failed.filter(({ kind }) => /INDEX|CONSTRAINT/.test(kind))
  // Online, the cutover waits for the user to mend it: see failed-objects.ts.
  if (offline && fatal.length > 0) {
    throw new MigrationError(
      'ObjectsFailed',
      `These objects could not be built on the target: ${fatal.map(({ object, message }) => `${object}: ${message}`).join('; ')}`,
      { hint: 'Mend their cause on the source, and migrate this database anew.' },
    )
  }
  await reportPostData(context, result)
  await copyExtensionTables(context)
  await context.event({
    level: 'info',
    event: 'IndexesBuilt',
    message: `${result.applied} indexes, constraints and comments were made.`,
  })
  return { finished: !context.draining.aborted }
}
