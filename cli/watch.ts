import type { Command } from 'commander'
import type { AfterCutover } from '../migration/model/after-cutover.ts'
import type { Migration } from '../migration/model/migration-resource.ts'
import { afterCutoverText } from './after-cutover.ts'
import { followUntil } from './follow.ts'
import { createProgress } from './progress.ts'
import { session, verbWithName, type CommonOptions, type Session } from './verb.ts'

export function addWatch(migration: Command): void {
  verbWithName(migration, 'watch', 'show a migration while it goes on, until it has ended').action(
    async (options: CommonOptions & { name: string }) => {
      const current = session(options)
      process.once('SIGINT', () => {
        current.note(`\nThe migration goes on. Watch it again with: pgflex migration watch -n ${options.name}`)
        process.exit(130)
      })
      const migration = await followUntil('ended', options.name, current, createProgress(process.stderr))
      await tellWhatFollows(options.name, migration, current)
      current.printMigration(migration)
    },
  )
}

/** Of the databases that moved; a migration that has only been validated has none. */
async function tellWhatFollows(name: string, { properties }: Migration, { client, note }: Session): Promise<void> {
  const { dbDetails } = properties.currentStatus.currentSubStateDetails
  const { databases } = JSON.parse(await client.report(name, 'json')) as { databases: { afterCutover: AfterCutover }[] }
  const moved = databases
    .map(({ afterCutover }) => afterCutover)
    .filter(({ database }) => dbDetails[database]?.migrationState === 'Succeeded')
  if (moved.length > 0) note(afterCutoverText(moved))
}
