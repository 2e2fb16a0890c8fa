import type { Command } from 'commander'
import { migrationRows } from './output.ts'
import { choice, session, verb, type CommonOptions } from './verb.ts'

export function addList(migration: Command): void {
  verb(migration, 'list', 'list the migrations of a server')
    .addOption(choice('--filter <filter>', 'which of them', ['Active', 'All']).default('Active'))
    .action(async (options: CommonOptions & { filter: string }) => {
      const { client, print } = session(options)
      const { value } = await client.list(options.filter)
      print(value, () => [migrationRows(value)])
    })
}
