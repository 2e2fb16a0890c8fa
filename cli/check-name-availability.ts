import type { Command } from 'commander'
import { anyRows } from './output.ts'
import { session, verbWithName, type CommonOptions } from './verb.ts'

export function addCheckNameAvailability(migration: Command): void {
  verbWithName(migration, 'check-name-availability', 'say whether a name is free').action(
    async (options: CommonOptions & { name: string }) => {
      const { client, print } = session(options)
      const answer = await client.checkName(options.name)
      print(answer, () => [anyRows([{ ...answer }])])
    },
  )
}
