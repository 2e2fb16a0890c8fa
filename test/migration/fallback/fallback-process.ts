import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { cutoverDatabase } from '../../../migration/cutover/cutover-database.ts'
import { errorText } from '../../../migration/errors.ts'
import { followBack } from '../../../migration/fallback/follow-back.ts'
import { switchBack } from '../../../migration/fallback/switch-back.ts'
import { openContext, type MigrationPlace } from '../replicate/slice-process.ts'
import type { TestMigration } from '../../support/servers.ts'

const ACTIVITIES = { followBack, switchBack, cutoverDatabase }
type Name = keyof typeof ACTIVITIES

/** Runs an activity in a process of its own, which can be killed like one. */
export function startActivity({ folder, context }: TestMigration, name: Name): ChildProcess {
  const place: MigrationPlace = { folder, key: context.key, database: context.database }
  return fork(fileURLToPath(import.meta.url), [], {
    env: { ...process.env, ACTIVITY: JSON.stringify({ ...place, name }) },
  })
}

/** Kills it, unless it has ended by itself. @returns whether it had */
export async function kill(child: ChildProcess): Promise<boolean> {
  if (child.exitCode !== null || child.signalCode !== null) return true
  child.kill('SIGKILL')
  await once(child, 'exit')
  return child.signalCode === null
}

async function main({ name, ...place }: MigrationPlace & { name: Name }): Promise<void> {
  let outcome: object
  try {
    outcome = await ACTIVITIES[name](await openContext(place))
  } catch (error) {
    outcome = { error: errorText(error) }
  }
  process.send!(outcome, () => process.exit(0))
}

const activity = process.env['ACTIVITY']
if (activity !== undefined && process.send) await main(JSON.parse(activity) as Parameters<typeof main>[0])
