import type { Command } from 'commander'
import { followUntil } from './follow.ts'
import { createProgress } from './progress.ts'
import { session, verbWithName, type CommonOptions } from './verb.ts'

export function addWatch(migration: Command): void {
  verbWithName(migration, 'watch', 'show a migration while it goes on, until it has ended').action(
    async (options: CommonOptions & { name: string }) => {
      const current = session(options)
      process.once('SIGINT', () => {
        current.note(`\nThe migration goes on. Watch it again with: pgflex migration watch -n ${options.name}`)
        process.exit(130)
      })
      current.printMigration(await followUntil('ended', options.name, current, createProgress(process.stderr)))
    },
  )
}
