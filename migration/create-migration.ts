import { randomUUID } from 'node:crypto'
import type { Surroundings } from './context.ts'
import { MigrationError } from './errors.ts'
import { differences } from './model/differences.ts'
import { InvalidInput } from './model/invalid-input.ts'
import { migrationKey, type MigrationPath } from './model/migration-id.ts'
import { commandProblems, newRecord, passwordProblems } from './model/new-record.ts'
import type { MigrationRecord } from './model/record.ts'
import { parsePut, type PutBody } from './model/resource.ts'
import { deriveState } from './status.ts'
import { readMigration, type StoredMigration } from './read-migration.ts'
import { appendEvent, createRecord } from './store/migrations.ts'
import { passwordName, type SecretStore } from './store/secrets.ts'

export interface Created {
  record: MigrationRecord
  /** False for the repetition of an earlier request. */
  created: boolean
}

/**
 * Stores a new migration and its passwords. The repetition of a request finds the migration and finishes
 * what a crash between the steps left undone.
 *
 * @param body the JSON of a PUT
 * @throws {MigrationError} InvalidInput, MigrationAlreadyExists
 */
export async function createMigration(
  surroundings: Surroundings,
  path: MigrationPath,
  body: unknown,
): Promise<Created> {
  const { documents, secrets, targetToken } = surroundings
  const parsed = parsePut(body)
  const existing = await readMigration(surroundings, migrationKey(path))
  if (existing) return repeated(surroundings, path, parsed, existing)

  const record = newRecordOrAllProblems(path, parsed, targetToken !== undefined)
  await storePasswords(secrets, record.key, parsed)
  if (!(await createRecord(documents, record))) {
    // Somebody else was quicker with the same name: the record that is there decides.
    return repeated(surroundings, path, parsed, (await readMigration(surroundings, record.key))!)
  }
  await appendEvent(documents, record.key, {
    level: 'info',
    event: 'MigrationCreated',
    message: `Migration of ${record.properties.dbsToMigrate.join(', ')} from ${record.source.host}:${record.source.port} to ${record.target.host}:${record.target.port} created.`,
  })
  return { record, created: true }
}

/** One answer with the problems of the whole body: a client that corrects one at a time needs many rounds. */
function newRecordOrAllProblems(path: MigrationPath, body: PutBody, targetToken: boolean): MigrationRecord {
  const problems = [...passwordProblems(body, { targetToken }), ...commandProblems(body)]
  try {
    const record = newRecord(path, body, { migrationId: randomUUID(), now: new Date() })
    if (problems.length === 0) return record
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error
    throw new InvalidInput([...error.details, ...problems])
  }
  throw new InvalidInput(problems)
}

async function repeated(
  surroundings: Surroundings,
  path: MigrationPath,
  body: PutBody,
  existing: StoredMigration,
): Promise<Created> {
  const { record } = existing
  const fields = differences(
    record,
    newRecord(path, withUsersOf(record, body), { migrationId: record.migrationId, now: new Date(record.createdAt) }),
    body,
  )
  const ended = deriveState(record, existing.server, existing.databases).currentSubState === 'Completed'
  if (!ended) fields.push(...(await differentPasswords(surroundings.secrets, record.key, body)))
  if (fields.length > 0) {
    throw new MigrationError(
      'MigrationAlreadyExists',
      `There is a migration "${record.name}" already, and it differs in ${fields.join(', ')}.`,
      { target: fields[0]!, hint: 'Change it with a PATCH, or choose another name.' },
    )
  }
  // The secrets of a migration that has ended are gone, and stay so.
  if (!ended) await storePasswords(surroundings.secrets, record.key, body, { missingOnly: true })
  return { record, created: false }
}

/** A GET result that is put back has no secretParameters: the users are those of the record. */
function withUsersOf({ source, target }: MigrationRecord, body: PutBody): PutBody {
  const { secretParameters } = body.properties
  return {
    ...body,
    properties: {
      ...body.properties,
      secretParameters: {
        ...secretParameters,
        sourceServerUsername: secretParameters?.sourceServerUsername ?? source.user,
        targetServerUsername: secretParameters?.targetServerUsername ?? target.user,
      },
    },
  }
}

const SIDES = ['source', 'target'] as const

function passwordOf(body: PutBody, side: 'source' | 'target'): string | undefined {
  return body.properties.secretParameters?.adminCredentials?.[`${side}ServerPassword`]
}

async function differentPasswords(secrets: SecretStore, key: string, body: PutBody): Promise<string[]> {
  const fields: string[] = []
  for (const side of SIDES) {
    const [given, stored] = [passwordOf(body, side), await secrets.get(passwordName(key, side))]
    if (given !== undefined && stored !== undefined && given !== stored) {
      fields.push(`properties.secretParameters.adminCredentials.${side}ServerPassword`)
    }
  }
  return fields
}

/** Puts the passwords of a body into the secret store. */
export async function storePasswords(
  secrets: SecretStore,
  key: string,
  body: { properties?: PutBody['properties'] | object },
  { missingOnly = false } = {},
): Promise<void> {
  for (const side of SIDES) {
    const password = passwordOf(body as PutBody, side)
    if (password === undefined) continue
    const name = passwordName(key, side)
    if (!missingOnly || (await secrets.get(name)) === undefined) await secrets.set(name, password)
  }
}
