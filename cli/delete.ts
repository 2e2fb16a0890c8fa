import type { Command } from 'commander'
import { confirm, session, verbWithName, type CommonOptions } from './verb.ts'

export function addDelete(migration: Command): void {
  verbWithName(migration, 'delete', 'cancel a migration; one that has ended stays listed')
    .option('-y, --yes', 'do not ask')
    .action(async (options: CommonOptions & { name: string; yes?: boolean }) => {
      const { client, note, printMigration } = session(options)
      await confirm(`Cancel ${options.name}? What is on the target so far stays there.`, {
        yes: options.yes,
        required: true,
      })
      const canceled = await client.delete(options.name)
      if (canceled) printMigration(canceled)
      else note(`There is nothing to cancel in ${options.name}.`)
    })
}
