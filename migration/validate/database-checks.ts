import type { ValidationSummaryItem } from '../model/status.ts'
import { unreadableMessage } from '../load/large-object-facts.ts'
import { id } from '../sql.ts'
import type { SourceDatabaseFacts } from './database-facts.ts'
import { summarize, type Finding } from './server-checks.ts'

export interface DatabaseNeeds {
  database: string
  /** Our role on the source. */
  sourceUser: string
  online: boolean
  writeFreeze: 'Automatic' | 'Manual'
  availableExtensions: string[]
  /** The database exists on the target and is not empty. */
  occupied: boolean
  overwrite: boolean
}

/** Names in one message before the rest is counted. */
const NAMES_SHOWN = 10

export function checkDatabase(facts: SourceDatabaseFacts, needs: DatabaseNeeds): ValidationSummaryItem[] {
  return [
    summarize('SchemaValidation', checkSchema(facts, needs)),
    summarize('ExtensionsValidation', checkExtensions(facts, needs)),
    summarize('CollationsValidation', checkCollations(facts)),
    summarize('PermissionsValidation', checkPermissions(facts, needs)),
    summarize('TargetDatabaseValidation', checkTarget(needs)),
  ]
}

function checkSchema(facts: SourceDatabaseFacts, { online }: DatabaseNeeds): Finding[] {
  const findings: Finding[] = []
  if (online && facts.withoutIdentity.length > 0) {
    findings.push({
      state: 'Warning',
      message: `Only inserts and truncates of tables without a usable replica identity are followed; they are copied again in whole at cutover, which costs downtime in proportion to their size: ${names(facts.withoutIdentity)}. To spare it, give them a primary key, or run: alter table … replica identity full;`,
    })
  }
  if (facts.foreignTables.length > 0) {
    findings.push({
      state: 'Warning',
      message: `Rows of foreign tables stay where they are: ${names(facts.foreignTables)}.`,
    })
  }
  if (online && facts.unloggedTables.length > 0) {
    findings.push({
      state: 'Warning',
      message: `Unlogged tables are not in the change stream; they are copied again at cutover: ${names(facts.unloggedTables)}.`,
    })
  }
  if (facts.extensionTables.length > 0) {
    findings.push({
      state: 'Warning',
      message: `Rows that were added to tables of extensions are copied after the load and at the cutover, where the target lets the migrating role write them and they are few: ${names(facts.extensionTables)}. What cannot be is told then.`,
    })
  }
  if (online && facts.largeObjects.objects > 0) {
    findings.push({
      state: 'Warning',
      message: `Large objects are not in the change stream; ${facts.largeObjects.objects} of them are compared at cutover, which costs downtime in proportion to their size, and copied again if they have changed.`,
    })
  }
  if (online && facts.preparedTransactions > 0) {
    findings.push({
      state: 'Warning',
      message: `There are ${facts.preparedTransactions} prepared transactions: until each is committed or rolled back, no replication slot can be made.`,
    })
  }
  return findings
}

function checkExtensions({ extensions }: SourceDatabaseFacts, { availableExtensions }: DatabaseNeeds): Finding[] {
  const missing = extensions.filter(({ name }) => !availableExtensions.includes(name)).map(({ name }) => name)
  if (missing.length === 0) return []
  return [
    {
      state: 'Failed',
      message: `603108: The target cannot create these extensions: ${names(missing)}. On flexible server, add them to the server parameter azure.extensions; drop on the source what is not used.`,
    },
  ]
}

function checkCollations({ userCollations }: SourceDatabaseFacts): Finding[] {
  if (userCollations.length === 0) return []
  return [
    {
      state: 'Warning',
      message: `603403: User-defined collations have to exist in the target's operating system or ICU too: ${names(userCollations)}.`,
    },
  ]
}

function checkPermissions(
  facts: SourceDatabaseFacts,
  { database, sourceUser, online, writeFreeze }: DatabaseNeeds,
): Finding[] {
  const findings: Finding[] = []
  if (online && !facts.mayCreate && !facts.ownsDatabase) {
    findings.push({
      state: 'Failed',
      message: `603110: User "${sourceUser}" may not create a publication. Run on the source: grant create on database ${id(database)} to ${id(sourceUser)};`,
    })
  }
  if (facts.notOwned.length > 0) {
    findings.push({
      state: 'Failed',
      message: `603110: User "${sourceUser}" owns neither these tables nor is a member of their owners: ${names(facts.notOwned)}. Run on the source, for each owner: grant <owner> to ${id(sourceUser)};`,
    })
  }
  if (facts.largeObjects.unreadable.objects > 0) {
    const { message, hint } = unreadableMessage(facts.largeObjects, sourceUser)
    findings.push({ state: 'Failed', message: `603110: ${message} ${hint}` })
  }
  if (writeFreeze === 'Automatic' && online && !facts.ownsDatabase) {
    findings.push({
      state: 'Failed',
      message: `603112: User "${sourceUser}" may not stop writes on the database at cutover, since only its owner may set default_transaction_read_only. Run on the source: grant ${id(facts.owner)} to ${id(sourceUser)}; or stop the writes yourself (pgflex.writeFreeze "Manual").`,
    })
  }
  return findings
}

function checkTarget({ database, occupied, overwrite }: DatabaseNeeds): Finding[] {
  if (!occupied) return []
  return [
    overwrite
      ? {
          state: 'Warning',
          message: `603101: Database "${database}" on the target is not empty and will be dropped and made anew.`,
        }
      : {
          state: 'Warning',
          message: `603101: Database "${database}" on the target is not empty: the migration waits for your consent (overwriteDbsInTarget "True").`,
        },
  ]
}

function names(list: string[]): string {
  const rest = list.length - NAMES_SHOWN
  return list.slice(0, NAMES_SHOWN).join(', ') + (rest > 0 ? ` and ${rest} more` : '')
}
