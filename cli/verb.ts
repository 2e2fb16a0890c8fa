import { createInterface } from 'node:readline/promises'
import { Option, type Command } from 'commander'
import { createClient, type Client } from './client.ts'
import { CliError, EXIT } from './cli-error.ts'
import { findHost } from './host-address.ts'
import { databaseRows, migrationRows, OUTPUTS, readinessRows, render, type Output, type Rows } from './output.ts'
import type { Migration } from '../migration/model/migration-resource.ts'

export interface CommonOptions {
  resourceGroup: string
  serverName: string
  subscription: string
  output: Output
}

/** What a verb has at hand. */
export interface Session {
  client: Client
  /** Writes the result to stdout. */
  print: (value: unknown, tables: () => Rows[]) => void
  printMigration: (migration: Migration) => void
  /** Writes to stderr. */
  note: (text: string) => void
}

/** An option with a few words to choose from, whatever their case, as az has them. */
export function choice(flags: string, description: string, choices: readonly string[]): Option {
  return new Option(flags, description).choices(choices).argParser((value: string) => {
    const found = choices.find((one) => one.toLowerCase() === value.toLowerCase())
    if (found !== undefined) return found
    throw new CliError(`${flags} must be one of ${choices.join(', ')}, not "${value}".`, { exitCode: EXIT.usage })
  })
}

/** A verb of `pgflex migration` with the options that every verb has. */
export function verb(migration: Command, name: string, description: string): Command {
  return migration
    .command(name)
    .description(description)
    .option('-g, --resource-group <name>', 'resource group of the target server', 'local')
    .option('-s, --server-name <name>', 'target server', 'local')
    .option('--subscription <id>', 'subscription of the target server', '00000000-0000-0000-0000-000000000000')
    .addOption(choice('-o, --output <format>', 'format of the result', OUTPUTS).default('json'))
    .option('--debug', 'show the stack of an error')
    .allowExcessArguments(false)
}

/** A verb about one migration. */
export function verbWithName(migration: Command, name: string, description: string): Command {
  return verb(migration, name, description).requiredOption('-n, --name <name>', 'name of the migration')
}

export function session({ resourceGroup, serverName, subscription, output }: CommonOptions): Session {
  const path = { resourceGroupName: resourceGroup, serverName, subscriptionId: subscription }
  const print: Session['print'] = (value, tables) => void process.stdout.write(render(output, value, tables))
  return {
    client: createClient(findHost(process.env), path),
    print,
    printMigration: (migration) =>
      print(migration, () => [migrationRows([migration]), databaseRows(migration), readinessRows(migration)]),
    note: (text) => void process.stderr.write(`${text}\n`),
  }
}

/**
 * Asks on a terminal before something that cannot be taken back.
 *
 * @param required without a terminal there is nobody to ask: then --yes has to be given
 */
export async function confirm(
  question: string,
  { yes, required }: { yes?: boolean; required: boolean },
): Promise<void> {
  if (yes) return
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    if (!required) return
    throw new CliError('This needs a confirmation, and there is no terminal to ask on.', {
      exitCode: EXIT.usage,
      hint: 'Give --yes.',
    })
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question(`${question} [y/N] `)
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('Not confirmed; nothing was changed.')
  } finally {
    terminal.close()
  }
}
