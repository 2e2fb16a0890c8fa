import type { Command } from 'commander'
import { anyRows } from './output.ts'
import { session, verbWithName, type CommonOptions } from './verb.ts'

export function addTables(migration: Command): void {
  verbWithName(migration, 'tables', 'list the tables with their state, rows and bytes')
    .option('-d, --database <name>', 'only this database')
    .action(async (options: CommonOptions & { name: string; database?: string }) => {
      const { client, print } = session(options)
      const value = await client.details(
        options.name,
        'tables',
        options.database === undefined ? {} : { database: options.database },
      )
      print(value, () => [anyRows(value)])
    })
}
