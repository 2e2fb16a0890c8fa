import type { Surroundings } from '../context.ts'
import { MigrationError } from '../errors.ts'
import { verificationsOf } from '../model/verification-request.ts'
import { readMigration } from '../read-migration.ts'
import { appendEvent, updateRecord } from '../store/migrations.ts'

/**
 * Stores that databases are to be compared while they are followed; the work sees it within a second. Asking again
 * while a comparison runs changes nothing.
 *
 * @param names the databases; all that go on when there is no list
 * @returns the databases that it is asked of
 * @throws {MigrationError} MigrationMissing and those of {@link verificationsOf}
 */
export async function requestVerification(
  surroundings: Surroundings,
  key: string,
  names: string[] | undefined,
): Promise<string[]> {
  const { documents } = surroundings
  const stored = await readMigration(surroundings, key)
  if (!stored) throw new MigrationError('MigrationMissing', `There is no migration ${key}.`)
  const databases = verificationsOf(stored.record, names, stored.databases)
  const at = new Date().toISOString()
  await updateRecord(documents, key, (record) => {
    const added = Object.fromEntries(databases.map((database) => [database, { at }]))
    return { ...record, requests: { ...record.requests, verify: { ...added, ...record.requests.verify } } }
  })
  const message = `Comparison requested of ${databases.join(', ')}.`
  await appendEvent(documents, key, { level: 'info', event: 'VerificationRequested', message })
  return databases
}
