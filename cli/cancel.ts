import type { Command } from 'commander'
import { confirm, session, verbWithName, type CommonOptions } from './verb.ts'

export function addCancel(migration: Command): void {
  verbWithName(migration, 'cancel', 'cancel a migration, or some of its databases')
    .option('--dbs, --db-names <names...>', 'only these databases')
    .option('-y, --yes', 'do not ask')
    .action(async (options: CommonOptions & { name: string; dbNames?: string[]; yes?: boolean }) => {
      const { client, printMigration } = session(options)
      const what = options.dbNames?.join(', ') ?? 'all databases'
      await confirm(`Cancel ${what} of ${options.name}? What is on the target so far stays there.`, {
        yes: options.yes,
        required: false,
      })
      printMigration(
        await client.update(options.name, {
          cancel: 'True',
          ...(options.dbNames ? { dbsToCancelMigrationOn: options.dbNames } : {}),
        }),
      )
    })
}
