import type { Surroundings } from './context.ts'
import { MigrationError } from './errors.ts'
import { fallbackIsOn } from './model/fallback.ts'
import { applyPatch, type Patched } from './model/patch.ts'
import type { MigrationRecord } from './model/record.ts'
import { parsePatch, type PatchBody } from './model/resource.ts'
import { storePasswords } from './create-migration.ts'
import { readFallbacks, readMigration, type StoredMigration } from './read-migration.ts'
import { deriveState } from './status.ts'
import { isAsked } from './model/record.ts'
import { appendEvent, updateRecord } from './store/migrations.ts'

/**
 * Carries out a PATCH: what is asked is stored durably when this returns; the events only hurry the work.
 *
 * @param body the JSON of a PATCH
 * @throws {MigrationError} InvalidInput, MigrationMissing, and those of {@link applyPatch}
 */
export async function updateMigration(surroundings: Surroundings, key: string, body: unknown): Promise<Patched> {
  const { documents, secrets } = surroundings
  const parsed = parsePatch(body)
  const stored = await readMigration(surroundings, key)
  if (!stored) throw new MigrationError('MigrationMissing', `There is no migration ${key}.`)
  const { server, databases } = stored
  if (isForWayBack(stored, parsed)) {
    await storePasswords(secrets, key, parsed)
    return { record: stored.record, events: [] }
  }
  // Refused before anything is stored; the passwords are there before the record that may need them.
  let patched = applyPatch(stored.record, parsed, server, databases, new Date())
  await storePasswords(secrets, key, parsed)
  await updateRecord(documents, key, (record) => {
    patched = applyPatch(record, parsed, server, databases, new Date())
    return patched.record
  })
  for (const message of messages(stored.record, patched.record, parsed)) {
    await appendEvent(documents, key, { level: 'info', ...message })
  }
  return patched
}

/** New passwords, and nothing else, of a migration that has ended and still brings changes back. */
function isForWayBack(stored: StoredMigration, { tags, properties = {} }: PatchBody): boolean {
  const { secretParameters, ...others } = properties
  return (
    secretParameters?.adminCredentials !== undefined &&
    tags === undefined &&
    Object.values(others).every((value) => value === undefined) &&
    deriveState(stored.record, stored.server, stored.databases).currentSubState === 'Completed' &&
    readFallbacks(stored).some(fallbackIsOn)
  )
}

/** What the user did, for the list of events; names of fields, never their values. */
function messages(
  before: MigrationRecord,
  after: MigrationRecord,
  { properties = {} }: PatchBody,
): { event: string; message: string }[] {
  const added = (kind: 'cutover' | 'cancel'): string[] =>
    Object.keys(after.requests[kind]).filter((name) => !isAsked(before, kind, name))
  const [cutovers, cancels] = [added('cutover'), added('cancel')]
  const changed = Object.keys(properties).filter(
    (name) => !['triggerCutover', 'dbsToTriggerCutoverOn', 'cancel', 'dbsToCancelMigrationOn'].includes(name),
  )
  return [
    ...(cutovers.length > 0
      ? [{ event: 'CutoverRequested', message: `Cutover requested of ${cutovers.join(', ')}.` }]
      : []),
    ...(cancels.length > 0
      ? [{ event: 'CancelRequested', message: `Cancellation requested of ${cancels.join(', ')}.` }]
      : []),
    ...(changed.length > 0 ? [{ event: 'MigrationChanged', message: `Changed: ${changed.join(', ')}.` }] : []),
  ]
}
