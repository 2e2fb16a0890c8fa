import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { controlSchemaOwner, createControlSchema } from '../control/control-schema.ts'
import { errorText, isTransient, MigrationError, sqlState } from '../errors.ts'
import { id, literal } from '../sql.ts'
import { isEmptyDatabase, MAINTENANCE_DATABASE } from '../validate/target-databases.ts'
import { localeChoices, localeTitle, type DatabaseLocale } from './database-locale.ts'
import { readTargetRoles } from './roles.ts'

/**
 * Makes the target database like that of the source, with our control schema in it; or takes the one that is
 * there: one of this migration as it is, an empty one, and with the user's consent (`overwriteDbsInTarget`) any
 * other one after dropping it. Once the control schema is there, nothing is dropped any more.
 *
 * @throws {MigrationError} 603101 when the database is there and holds objects; ControlSchemaTaken; Busy
 */
export async function createTargetDatabase(context: DatabaseContext): Promise<{ created: boolean }> {
  await using maintenance = await connectMaintenance(context)
  // Two copies of this step must not drop what the other one has just made. The session that holds the lock is
  // the one that drops and creates: without its connection a copy can do neither.
  await lockDatabaseName(context, maintenance)
  let created = false
  if (await exists(maintenance, context.database)) {
    const use = await inspect(context)
    if (use === 'drop') await dropDatabase(context, maintenance)
    created = use === 'drop'
  } else created = true
  if (created) await createLikeSource(context, maintenance)
  await using target = await context.target('control schema')
  await createControlSchema(target, context.key)
  return { created }
}

/** The database that is migrated cannot be dropped from within. */
async function connectMaintenance(context: DatabaseContext): Promise<Connection> {
  const candidates = [MAINTENANCE_DATABASE, 'template1'].filter((name) => name !== context.database)
  const errors: unknown[] = []
  for (const database of candidates) {
    try {
      return await context.connect('target', database, 'create database')
    } catch (error) {
      errors.push(error)
    }
  }
  throw errors[0]
}

/** s; making a database takes a few seconds. */
const WAIT_FOR_LOCK_SECONDS = 60

async function lockDatabaseName(context: DatabaseContext, maintenance: Connection): Promise<void> {
  const deadline = Date.now() + WAIT_FOR_LOCK_SECONDS * 1000
  for (;;) {
    const { rows } = await maintenance.query<{ locked: string }>(
      `select pg_try_advisory_lock(hashtext('pgflex database'), hashtext($1)) as locked`,
      [context.database],
    )
    if (rows[0]!.locked === 't') return
    if (context.draining.aborted || Date.now() > deadline) {
      throw new MigrationError('Busy', `Another copy of this activity is making database "${context.database}".`, {
        retryable: true,
      })
    }
    await sleep(250, undefined, { signal: context.draining }).catch(() => {})
  }
}

async function exists(maintenance: Connection, database: string): Promise<boolean> {
  const { rows } = await maintenance.query('select from pg_database where datname = $1', [database])
  return rows.length > 0
}

async function inspect(context: DatabaseContext): Promise<'use' | 'drop'> {
  await using target = await context.target('create database')
  if ((await controlSchemaOwner(target)) !== undefined) return 'use' // createControlSchema says whether it is ours.
  if (await isEmptyDatabase(target)) {
    await warnOfEncoding(context, target)
    return 'use'
  }
  if (context.record.properties.overwriteDbsInTarget) return 'drop'
  throw new MigrationError('603101', `Database "${context.database}" exists on the target server and is not empty.`, {
    target: 'target',
    hint: 'To drop it and everything in it, set overwriteDbsInTarget to "True"; or rename it: alter database … rename to ….',
  })
}

async function warnOfEncoding(context: DatabaseContext, target: Connection): Promise<void> {
  const encoding =
    'select pg_encoding_to_char(encoding) as encoding from pg_database where datname = current_database()'
  await using source = await context.source('create database')
  const ofSource = (await source.query<{ encoding: string }>(encoding)).rows[0]!.encoding
  const ofTarget = (await target.query<{ encoding: string }>(encoding)).rows[0]!.encoding
  if (ofSource !== ofTarget) {
    await warn(
      context,
      `Database "${context.database}" on the target has encoding ${ofTarget}, the source ${ofSource}: characters that ${ofTarget} does not know cannot be copied.`,
    )
  }
}

async function dropDatabase({ database }: DatabaseContext, maintenance: Connection): Promise<void> {
  const { rows } = await maintenance.query<{ version: string }>(
    `select current_setting('server_version_num') as version`,
  )
  const force = Number(rows[0]!.version) >= 130000
  try {
    if (!force) {
      await maintenance.query(
        'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()',
        [database],
      )
    }
    await maintenance.query(`drop database ${id(database)}${force ? ' with (force)' : ''}`)
  } catch (error) {
    throw new MigrationError(
      'DropFailed',
      `Database "${database}" on the target could not be dropped: ${errorText(error)}.`,
      {
        cause: error,
        retryable: isTransient(error),
        target: 'target',
        hint: `End its sessions and drop it as its owner: drop database ${id(database)};`,
      },
    )
  }
}

async function createLikeSource(context: DatabaseContext, maintenance: Connection): Promise<void> {
  const { database } = context
  const { locale, owner } = await readSourceDatabase(context)
  const { rows } = await maintenance.query<{ version: string }>(
    `select current_setting('server_version_num') as version`,
  )
  const choices = localeChoices(locale, Math.floor(Number(rows[0]!.version) / 10_000))
  const { current, roles } = await readTargetRoles(maintenance)
  const role = roles.get(owner)
  const isOwnerPossible = role !== undefined && role.inherited && role.settable
  for (const [n, { clauses, title }] of choices.entries()) {
    try {
      await maintenance.query(
        `create database ${id(database)} template template0 encoding ${literal(locale.encoding)} ${clauses}` +
          (isOwnerPossible ? ` owner ${id(owner)}` : ''),
      )
    } catch (error) {
      if (n < choices.length - 1 && isLocaleError(error)) continue
      throw createError(database, error)
    }
    if (title.toLowerCase().replace('-', '') !== localeTitle(locale).toLowerCase().replace('-', '')) {
      await warn(
        context,
        `Locale ${localeTitle(locale)} is not available on the target: database "${database}" was created with ${title}, so text sorts differently.`,
      )
    }
    break
  }
  if (!isOwnerPossible) {
    await warn(
      context,
      role === undefined
        ? `Role "${owner}", the owner of database "${database}", does not exist on the target: "${current}" owns it there.`
        : `"${current}" is not a full member of role "${owner}" on the target, and owns database "${database}" there itself.`,
    )
  }
}

async function readSourceDatabase(context: DatabaseContext): Promise<{ locale: DatabaseLocale; owner: string }> {
  await using source = await context.source('create database')
  // The columns of newer majors are looked up by name: datlocale was daticulocale in 15 and 16.
  const { rows } = await source.query<Record<string, string | null>>(
    `select pg_encoding_to_char(encoding) as encoding, datcollate as collate, datctype as ctype,
            pg_get_userbyid(datdba) as owner,
            coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') as provider,
            coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') as locale,
            to_jsonb(d) ->> 'daticurules' as rules
       from pg_database as d
      where datname = current_database()`,
  )
  const row = rows[0]!
  return {
    owner: row['owner']!,
    locale: {
      encoding: row['encoding']!,
      collate: row['collate']!,
      ctype: row['ctype']!,
      provider: row['provider'] as DatabaseLocale['provider'],
      locale: row['locale'] ?? null,
      icuRules: row['rules'] ?? null,
    },
  }
}

/** The server has no such locale, or it does not go with the encoding. */
function isLocaleError(error: unknown): boolean {
  const state = sqlState(error)
  // wrong_object_type, invalid_parameter_value, invalid_object_definition, feature_not_supported
  return state !== undefined && ['42809', '22023', '42P17', '0A000'].includes(state)
}

function createError(database: string, error: unknown): unknown {
  const state = sqlState(error)
  // duplicate_database: somebody else has made it in between; the next call looks at it.
  if (state === '42P04' || isTransient(error)) {
    return new MigrationError('CreateFailed', `Database "${database}" could not be created: ${errorText(error)}.`, {
      cause: error,
      retryable: true,
      target: 'target',
    })
  }
  return new MigrationError('CreateFailed', `Database "${database}" could not be created: ${errorText(error)}.`, {
    cause: error,
    target: 'target',
    hint: 'The migrating role needs CREATEDB on the target: alter role <role> createdb.',
  })
}

async function warn(context: DatabaseContext, message: string): Promise<void> {
  await context.event({ level: 'warning', event: 'DatabaseDiffers', message })
  await context.status((status) => ({ ...status, warnings: [...new Set([...status.warnings, message])] }))
}
