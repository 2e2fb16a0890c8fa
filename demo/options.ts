import { Command, InvalidArgumentError, Option } from 'commander'

export interface DemoOptions {
  /** How long the workload goes on when all databases are ready for cutover, s. */
  seconds: number
  sourceMajor: number
  targetMajor: number
  /** Leaves servers and page up until Ctrl-C. */
  keep: boolean
  json: boolean
  /** Changes a row on the target before the comparison, for the test that it is found. */
  break: boolean
}

/** Reads the command line; prints the help or what is wrong and ends the process where there is nothing to do. */
export function readOptions(args: string[]): DemoOptions {
  const command = new Command('npm run demo --')
    .description(
      'Migrates two sample databases between two PostgreSQL servers of different majors, online and under load, and compares both sides row by row.',
    )
    .option('--seconds <number>', 'how long the workload runs before cutover', wholeNumber, 10)
    .option('--source-major <number>', 'PostgreSQL major of the source', wholeNumber, 15)
    .option('--target-major <number>', 'PostgreSQL major of the target', wholeNumber, 17)
    .option('--keep', 'leave servers and page up until Ctrl-C', false)
    .option('--json', 'print the result object as the last line of stdout', false)
    .addOption(new Option('--break', 'change a row on the target before the comparison').default(false).hideHelp())
    .allowExcessArguments(false)
    // Exit code 2 is a mistake in usage everywhere in pgflex.
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .parse(args, { from: 'user' })
  return command.opts<DemoOptions>()
}

function wholeNumber(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(text)
}
