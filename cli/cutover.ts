import type { Command } from 'commander'
import { confirm, session, verbWithName, type CommonOptions } from './verb.ts'

interface Options extends CommonOptions {
  name: string
  dbNames?: string[]
  force?: boolean
  compareAll?: boolean
  yes?: boolean
}

export function addCutover(migration: Command): void {
  verbWithName(migration, 'cutover', 'cut over: stop the writes on the source, and let the target take over')
    .option('--dbs, --db-names <names...>', 'only these databases')
    .option(
      '--force',
      'cut over also above the greatest latency that is allowed, and without objects that could not be built',
    )
    .option('--compare-all', 'compare all rows, also of tables that were compared before; takes longer')
    .option('-y, --yes', 'do not ask')
    .action(async (options: Options) => {
      const { client, note, printMigration } = session(options)
      const what = options.dbNames?.join(', ') ?? 'all databases'
      note(
        'Cutover stops the writes on the source, applies the last changes and compares. Until applications write to ' +
          'the target, the way back is to let them go on with the source.',
      )
      await confirm(`Cut over ${what} of ${options.name} now?`, { yes: options.yes, required: true })
      const migration = await client.update(options.name, {
        triggerCutover: 'True',
        ...(options.dbNames ? { dbsToTriggerCutoverOn: options.dbNames } : {}),
        ...(options.force || options.compareAll
          ? {
              pgflex: {
                ...(options.force ? { force: true } : {}),
                ...(options.compareAll ? { compareAll: true } : {}),
              },
            }
          : {}),
      })
      note(
        `Cutover is asked for. Follow it with: pgflex migration watch -n ${options.name}; the connection strings for ` +
          `the applications are in: pgflex migration report -n ${options.name} --file report.html`,
      )
      printMigration(migration)
    })
}
