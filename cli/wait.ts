import { Option, type Command } from 'commander'
import { CliError, EXIT } from './cli-error.ts'
import { followUntil, GOALS, type Goal } from './follow.ts'
import { createProgress } from './progress.ts'
import { choice, session, verbWithName, type CommonOptions } from './verb.ts'

interface Options extends CommonOptions {
  name: string
  for: Goal
  timeout?: number
}

export function addWait(migration: Command): void {
  verbWithName(migration, 'wait', 'wait until a migration has come so far')
    .addOption(choice('--for <goal>', 'how far', GOALS).makeOptionMandatory())
    .addOption(
      new Option('--timeout <duration>', 'such as 90s, 30m or 2h (default: as long as it takes)').argParser(
        parseDuration,
      ),
    )
    .addHelpText(
      'after',
      '\nExit code 0 when it is so far, 1 when it never will be, 4 when the validation has failed, 5 when the time is over.',
    )
    .action(async (options: Options) => {
      const current = session(options)
      const progress = createProgress({
        write: (text: string) => process.stderr.write(text),
        isTTY: false,
        columns: 80,
      })
      current.printMigration(await followUntil(options.for, options.name, current, progress, options.timeout))
    })
}

const UNITS: Record<string, number> = { '': 1_000, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `2h` in ms; a plain number is seconds, as az has it. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(text)
  if (!match)
    throw new CliError(`"${text}" is not a duration.`, { exitCode: EXIT.usage, hint: 'Give it as 90s, 30m or 2h.' })
  return Number(match[1]) * UNITS[match[2]!]!
}
