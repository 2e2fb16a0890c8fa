import { z } from 'zod'
import { MigrationError } from '../errors.ts'
import { databaseState, isEnded } from '../status.ts'
import { InvalidInput, problem } from './invalid-input.ts'
import type { MigrationRecord } from './record.ts'
import { checkNames } from './requests.ts'
import type { DatabaseStatus } from './status.ts'

/** The body of `POST …/verify`. */
export const verifySchema = z.strictObject({
  databases: z.array(z.string()).optional().meta({ description: 'All that go on, when there is no list.' }),
})

/** @throws {InvalidInput} */
export function parseVerifyRequest(body: unknown): z.infer<typeof verifySchema> {
  const parsed = verifySchema.safeParse(body)
  if (parsed.success) return parsed.data
  throw new InvalidInput([problem('databases', 'The body may have databases, a list of names, and nothing else.')])
}

/**
 * The databases that a comparison is asked of.
 *
 * @throws {MigrationError} InvalidInput, 603114, 603113
 */
export function verificationsOf(
  record: MigrationRecord,
  names: string[] | undefined,
  databases: DatabaseStatus[],
): string[] {
  checkNames(record, names, 'databases')
  if (record.properties.migrationMode === 'Offline') {
    throw new MigrationError('603114', 'An Offline migration follows nothing: it compares at its end by itself.')
  }
  const named = names === undefined || names.length === 0 ? undefined : names
  const chosen = databases.filter(({ database }) => named === undefined || named.includes(database))
  const open = chosen.filter((status) => !isEnded(status) && databaseState(record, status) !== 'Canceling')
  if (open.length === 0 || (named !== undefined && open.length < chosen.length)) {
    const ended = chosen.filter((status) => !open.includes(status))
    throw new MigrationError(
      '603113',
      `It is too late to compare: ${ended.map((status) => `"${status.database}" ${databaseState(record, status)}`).join(', ')}.`,
    )
  }
  return open.map(({ database }) => database)
}
