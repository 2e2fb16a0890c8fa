import { Option, type Command } from 'commander'
import type { WayBack } from './client.ts'
import { CliError, EXIT } from './cli-error.ts'
import { anyRows } from './output.ts'
import { confirm, session, verbWithName, type CommonOptions } from './verb.ts'
import { parseDuration } from './wait.ts'

interface Options extends CommonOptions {
  name: string
  switchBack?: boolean
  end?: boolean
  dbNames?: string[]
  force?: boolean
  yes?: boolean
  timeout?: number
  wait: boolean
}

/** ms between two looks. */
const POLL_MS = 1_000

const QUESTIONS = {
  switchBack:
    'Switching back stops the writes on the new server, brings the last changes to the old source, compares, and lets writes in there again.',
  end: 'After the end of the way back the old source is not followed any more, and cannot be used again without losing what was written since.',
}

export function addFallback(migration: Command): void {
  verbWithName(migration, 'fallback', 'show the way back to the old source, use it or end it')
    .option('--switch-back', 'stop the writes on the new server, and let the old source take over again')
    .option('--end', 'stop bringing changes back, and remove what it needs on both servers')
    .option('--dbs, --db-names <names...>', 'only these databases')
    .option('--force', 'switch back also above the greatest latency that is allowed')
    .option('-y, --yes', 'do not ask')
    .option('--no-wait', 'only ask for it')
    .addOption(
      new Option('--timeout <duration>', 'such as 90s, 30m or 2h (default: as long as it takes)').argParser(
        parseDuration,
      ),
    )
    .addHelpText(
      'after',
      '\nExit code 0 when it is done, 1 when a switch back was called off, 5 when the time is over.',
    )
    .action(async (options: Options) => {
      if (options.switchBack === true && options.end === true) {
        throw new CliError('Either --switch-back or --end, not both.', { exitCode: EXIT.usage })
      }
      const { client, print, note } = session(options)
      const chosen = (all: WayBack[]): WayBack[] =>
        all.filter(({ database }) => options.dbNames === undefined || options.dbNames.includes(database))
      const show = (found: WayBack[]): void => print(found, () => [anyRows(found.map(row))])
      const action = options.switchBack === true ? 'switchBack' : options.end === true ? 'end' : undefined
      if (action === undefined) {
        show(chosen(await client.waysBack(options.name)))
        return
      }
      note(QUESTIONS[action])
      const what = options.dbNames?.join(', ') ?? 'all databases'
      const question = action === 'end' ? 'End the way back' : 'Switch back'
      await confirm(`${question} of ${what} of ${options.name} now?`, { yes: options.yes, required: true })
      const deadline = options.timeout === undefined ? Infinity : Date.now() + options.timeout
      let found = chosen(
        await client.fallback(options.name, {
          action,
          ...(options.dbNames ? { databases: options.dbNames } : {}),
          ...(options.force ? { force: true } : {}),
        }),
      )
      const concerned = found.filter(({ requested }) => requested === action).map(({ database }) => database)
      while (options.wait && found.some(isAtWork)) {
        if (Date.now() >= deadline) {
          throw new CliError(`The time is over: the way back of ${options.name} is still at work.`, {
            exitCode: EXIT.timedOut,
          })
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
        found = chosen(await client.waysBack(options.name))
      }
      show(found)
      if (!options.wait) return
      const wanted = action === 'end' ? 'Ended' : 'SwitchedBack'
      const other = found.filter(({ database, fallback }) => concerned.includes(database) && fallback?.state !== wanted)
      if (other.length > 0) {
        throw new CliError(
          other
            .map(({ database, fallback }) => `${database}: ${fallback?.message ?? fallback?.state ?? ''}`)
            .join('\n'),
        )
      }
    })
}

/** Asked for, and not yet at its end; a request that was called off is forgotten. */
function isAtWork({ requested, fallback }: WayBack): boolean {
  return requested !== undefined && !['SwitchedBack', 'Ended', 'Failed'].includes(fallback?.state ?? '')
}

function row({ database, requested, fallback }: WayBack): Record<string, unknown> {
  return {
    database,
    state: fallback?.state ?? '',
    requested: requested ?? '',
    latency: fallback?.latencySeconds ?? '',
    retained: fallback?.slot?.retainedBytes ?? '',
    downtime: fallback?.switchBack?.downtimeSeconds ?? '',
    message: fallback?.message ?? '',
  }
}
