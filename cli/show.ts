import type { Command } from 'commander'
import { session, verbWithName, type CommonOptions } from './verb.ts'

export function addShow(migration: Command): void {
  verbWithName(migration, 'show', 'show a migration').action(async (options: CommonOptions & { name: string }) => {
    const { client, printMigration } = session(options)
    printMigration(await client.show(options.name))
  })
}
