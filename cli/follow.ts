import type { Migration } from '../migration/model/migration-resource.ts'
import { HostUnreachable } from './client.ts'
import { CliError, EXIT, type ExitCode } from './cli-error.ts'
import type { Progress } from './progress.ts'
import type { Session } from './verb.ts'

/** ms; as the page. */
const POLL_MS = 2_000

export const GOALS = ['validated', 'ready', 'succeeded', 'ended'] as const
export type Goal = (typeof GOALS)[number]

/** Whether a goal is reached, or never will be; undefined while it may be. */
export function outcomeFor(goal: Goal, { properties }: Migration): ExitCode | undefined {
  const { state, currentSubStateDetails } = properties.currentStatus
  const { currentSubState, validationDetails } = currentSubStateDetails
  if (state === 'ValidationFailed') return EXIT.validationFailed
  if (state === 'Succeeded') return EXIT.ok
  const validated = validationDetails ? validationDetails.status !== 'Failed' : hasPassedValidation(currentSubState)
  if (goal === 'validated' && validated) return EXIT.ok
  if (currentSubState === 'Completed') return EXIT.failed
  return goal === 'ready' && currentSubState === 'WaitingForCutoverTrigger' ? EXIT.ok : undefined
}

function hasPassedValidation(subState: string): boolean {
  return ['MigratingData', 'WaitingForCutoverTrigger', 'CompletingMigration'].includes(subState)
}

/**
 * Looks at a migration until a goal is reached. A host that is away for a moment is waited for.
 *
 * @param timeoutMs undefined: as long as it takes
 * @throws {CliError} when the goal cannot be reached any more, or the time is over
 */
export async function followUntil(
  goal: Goal,
  name: string,
  { client, note }: Session,
  progress: Progress,
  timeoutMs?: number,
): Promise<Migration> {
  const deadline = timeoutMs === undefined ? undefined : Date.now() + timeoutMs
  let seen = false
  let away = false
  for (;;) {
    let migration: Migration | undefined
    try {
      migration = await client.show(name)
      seen = true
      away = false
    } catch (error) {
      // A host that was never there is an error; one that was there comes back.
      if (!(error instanceof HostUnreachable) || !seen) throw error
      if (!away) note(`${error.message} Waiting for it …`)
      away = true
    }
    if (migration) {
      progress.show(migration)
      const outcome = outcomeFor(goal, migration)
      if (outcome === EXIT.ok) return migration
      if (outcome !== undefined) throw ended(name, migration, outcome)
    }
    if (deadline !== undefined && Date.now() >= deadline) {
      throw new CliError(`The time is over: ${name} is not yet ${goal}.`, { exitCode: EXIT.timedOut })
    }
    const pause = deadline === undefined ? POLL_MS : Math.max(0, Math.min(POLL_MS, deadline - Date.now()))
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

function ended(name: string, { properties }: Migration, exitCode: ExitCode): CliError {
  const { state, error, currentSubStateDetails } = properties.currentStatus
  if (exitCode !== EXIT.validationFailed)
    return new CliError(`${name} has ended: ${state}.${error === undefined ? '' : ` ${error}`}`, { exitCode })
  const { serverLevelValidationDetails = [], dbLevelValidationDetails = [] } =
    currentSubStateDetails.validationDetails ?? {}
  const failures = [
    ...serverLevelValidationDetails.map((item) => ({ where: '', item })),
    ...dbLevelValidationDetails.flatMap(({ databaseName, summary }) =>
      summary.map((item) => ({ where: `${databaseName}: `, item })),
    ),
  ].flatMap(({ where, item }) =>
    (item.messages ?? []).filter((message) => message.state === 'Failed').map(({ message }) => `- ${where}${message}`),
  )
  return new CliError([`The validation of ${name} has failed.`, ...failures].join('\n'), { exitCode })
}
