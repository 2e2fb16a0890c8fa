import { Option, type Command } from 'commander'
import type { Verification } from './client.ts'
import { CliError, EXIT } from './cli-error.ts'
import { anyRows } from './output.ts'
import { session, verbWithName, type CommonOptions } from './verb.ts'
import { parseDuration } from './wait.ts'

interface Options extends CommonOptions {
  name: string
  dbNames?: string[]
  timeout?: number
  wait: boolean
}

/** ms between two looks. */
const POLL_MS = 1_000

export function addVerify(migration: Command): void {
  verbWithName(migration, 'verify', 'compare source and target while they are followed')
    .option('--dbs, --db-names <names...>', 'only these databases')
    .option('--no-wait', 'only ask for it')
    .addOption(
      new Option('--timeout <duration>', 'such as 90s, 30m or 2h (default: as long as it takes)').argParser(
        parseDuration,
      ),
    )
    .addHelpText('after', '\nExit code 0 when everything is equal, 1 when differences last, 5 when the time is over.')
    .action(async (options: Options) => {
      const { client, print, note } = session(options)
      const deadline = options.timeout === undefined ? Infinity : Date.now() + options.timeout
      const chosen = (all: Verification[]): Verification[] =>
        all.filter(({ database }) => options.dbNames === undefined || options.dbNames.includes(database))
      let found = chosen(await client.verify(options.name, options.dbNames))
      while (options.wait && found.some(({ requested }) => requested)) {
        if (Date.now() >= deadline) {
          throw new CliError(`The time is over: ${options.name} is not yet compared.`, { exitCode: EXIT.timedOut })
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
        found = chosen(await client.verification(options.name))
      }
      print(found, () => [anyRows(found.map(row))])
      if (!options.wait) return
      const unfinished = found.filter(({ verification }) => verification?.result === 'Running')
      if (unfinished.length > 0) throw new CliError('The comparison has not ended: the migration has.')
      if (found.some(({ verification }) => verification?.result === 'Different')) {
        note('Source and target differ.')
        process.exitCode = EXIT.failed
      }
    })
}

function row({ database, requested, verification }: Verification): Record<string, unknown> {
  return {
    database,
    result: verification?.result ?? (requested ? 'Requested' : ''),
    tables: verification?.tables ?? 0,
    rows: verification?.rows ?? 0,
    differences: verification?.differences.map(({ table }) => table).join(', ') ?? '',
    objects: verification?.whileFollowing?.objects.length ?? 0,
  }
}
