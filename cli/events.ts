import type { Command } from 'commander'
import { anyRows } from './output.ts'
import { session, verbWithName, type CommonOptions } from './verb.ts'

interface Options extends CommonOptions {
  name: string
  database?: string
  since?: string
}

export function addEvents(migration: Command): void {
  verbWithName(migration, 'events', 'list what has happened')
    .option('-d, --database <name>', 'only those of this database')
    .option('--since <time>', 'only later ones')
    .action(async (options: Options) => {
      const { client, print } = session(options)
      const value = await client.details(options.name, 'events', {
        ...(options.database === undefined ? {} : { database: options.database }),
        ...(options.since === undefined ? {} : { since: options.since }),
      })
      print(value, () => [anyRows(value)])
    })
}
