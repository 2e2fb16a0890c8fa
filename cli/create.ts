import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { canonicalBody } from '../migration/model/canonical-body.ts'
import { putSchema } from '../migration/model/resource.ts'
import { CliError, EXIT } from './cli-error.ts'
import { choice, session, verb, type CommonOptions } from './verb.ts'

interface Options extends CommonOptions {
  name?: string
  migrationMode?: string
  migrationOption?: string
  properties: string
  location?: string
  tags?: string[]
}

export function addCreate(migration: Command): void {
  verb(migration, 'create', 'create a migration and start it')
    .option('-n, --name <name>', 'name of the migration (default: a new GUID)')
    .addOption(choice('--migration-mode <mode>', 'how the data gets there (default: offline)', ['offline', 'online']))
    .addOption(
      choice('--migration-option <option>', 'what is done (default: ValidateAndMigrate)', [
        'Validate',
        'Migrate',
        'ValidateAndMigrate',
      ]),
    )
    .requiredOption('-b, --properties <file>', 'JSON file with the properties of the migration')
    .option('-l, --location <region>', 'location of the resource')
    .option('--tags <tags...>', 'tags as key=value')
    .addHelpText(
      'after',
      '\nPasswords are taken from the properties file, or from PGFLEX_SOURCE_PASSWORD and PGFLEX_TARGET_PASSWORD.',
    )
    .action(async (options: Options) => {
      const { client, printMigration } = session(options)
      const body = createBody(readProperties(options.properties), options, process.env)
      printMigration(await client.create(options.name ?? randomUUID(), body))
    })
}

function readProperties(file: string): unknown {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new CliError(`The properties file ${file} cannot be read: ${(error as Error).message}`, {
      exitCode: EXIT.usage,
      cause: error,
    })
  }
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch {
    // The message of JSON.parse quotes the text, which may be a password.
    throw new CliError(`The properties file ${file} is not valid JSON.`, { exitCode: EXIT.usage })
  }
}

interface Body {
  location?: string
  tags?: Record<string, string>
  properties?: Record<string, unknown> & {
    secretParameters?: Record<string, unknown> & { adminCredentials?: Record<string, unknown> }
  }
}

/** The body of the PUT: the file, the options over it, and the passwords of the environment where the file has none. */
export function createBody(
  file: unknown,
  { migrationMode, migrationOption, location, tags }: Partial<Options>,
  environment: NodeJS.ProcessEnv,
): unknown {
  const body = canonicalBody(putSchema, file)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body
  const given = body as Body
  const secrets = given.properties?.secretParameters
  const [source, target] = [environment['PGFLEX_SOURCE_PASSWORD'], environment['PGFLEX_TARGET_PASSWORD']]
  const adminCredentials = {
    ...(source ? { sourceServerPassword: source } : {}),
    ...(target ? { targetServerPassword: target } : {}),
    ...secrets?.adminCredentials,
  }
  return {
    ...given,
    location: location ?? given.location ?? 'local',
    ...(tags === undefined ? {} : { tags: Object.fromEntries(tags.map(tag)) }),
    properties: {
      migrationMode: 'Offline',
      migrationOption: 'ValidateAndMigrate',
      ...given.properties,
      ...(migrationMode === undefined ? {} : { migrationMode: migrationMode === 'online' ? 'Online' : 'Offline' }),
      ...(migrationOption === undefined ? {} : { migrationOption }),
      secretParameters: { ...secrets, adminCredentials },
    },
  }
}

function tag(text: string): [string, string] {
  const at = text.indexOf('=')
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
