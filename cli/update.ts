import type { Command } from 'commander'
import { CliError, EXIT } from './cli-error.ts'
import { session, verbWithName, type CommonOptions } from './verb.ts'

interface Options extends CommonOptions {
  name: string
  setupReplication?: boolean
  dbNames?: string[]
  overwriteDbs?: boolean
  cutover?: boolean
  cancel?: boolean
}

/** As az: exactly one change at a time, and no question. */
export function addUpdate(migration: Command): void {
  verbWithName(migration, 'update', 'change a migration')
    .option('--cutover', 'cut over the databases')
    .option('--cancel', 'cancel the migration')
    .option('--overwrite-dbs', 'overwrite databases that exist on the target')
    .option('--dbs, --db-names <names...>', 'the databases to migrate')
    .option('--setup-replication', 'set up logical replication on the source')
    .action(async (options: Options) => {
      const { client, printMigration } = session(options)
      printMigration(await client.update(options.name, changeOf(options)))
    })
}

/** @throws {CliError} usage, when there is not exactly one */
export function changeOf(
  options: Pick<Options, 'setupReplication' | 'dbNames' | 'overwriteDbs' | 'cutover' | 'cancel'>,
): Record<string, unknown> {
  const changes: Record<string, unknown>[] = [
    ...(options.setupReplication ? [{ setupLogicalReplicationOnSourceDbIfNeeded: 'True' }] : []),
    ...(options.dbNames ? [{ dbsToMigrate: options.dbNames }] : []),
    ...(options.overwriteDbs ? [{ overwriteDbsInTarget: 'True' }] : []),
    ...(options.cutover ? [{ triggerCutover: 'True' }] : []),
    ...(options.cancel ? [{ cancel: 'True' }] : []),
  ]
  const [change, second] = changes
  if (!change)
    throw new CliError('At least one update operation needs to be specified.', {
      exitCode: EXIT.usage,
      hint: 'See pgflex migration update --help.',
    })
  if (second) throw new CliError('Only one update operation can be specified.', { exitCode: EXIT.usage })
  return change
}
