import { connectionStrings, type ConnectionString } from './connection-strings.ts'
import type { MigrationRecord } from './record.ts'
import { isAzureHost } from './server-address.ts'

/** What remains to be done when a database is on the target. */
export interface AfterCutover {
  database: string
  connectionStrings: ConnectionString[]
  steps: string[]
}

/** The application's new address, and what to switch on, in the order in which it is done. */
export function afterCutover({ target, properties }: MigrationRecord, database: string): AfterCutover {
  const { host, port } = target
  const frozen = properties.migrationMode === 'Online' && properties.pgflex.writeFreeze === 'Automatic'
  return {
    database,
    connectionStrings: connectionStrings({ host, port, database, sslMode: properties.sslMode }),
    steps: [
      'Change the connection strings of every application, job and report to the target, with the role and password that each of them has there.',
      frozen
        ? 'The source stays read-only, so that a forgotten client fails instead of writing to the wrong place. Let writes in there again only when you go back: alter database … reset default_transaction_read_only.'
        : 'Keep the writers of the source stopped: what is written there now does not reach the target.',
      ...(isAzureHost(host) ? ON_AZURE : ELSEWHERE),
      'Keep the source until the target has gone through a full cycle of the business, backups included.',
    ],
  }
}

/**
 * https://learn.microsoft.com/azure/postgresql/flexible-server/concepts-high-availability and concepts-backup-restore:
 * high availability is off during a load because the standby slows it down; backups are always on.
 */
const ON_AZURE = [
  'Switch on high availability: az postgres flexible-server update --high-availability ZoneRedundant, with -g and -n of the target.',
  'Check how long backups are kept (--backup-retention, 7 to 35 days), and restore one of them once to see it work.',
  'Take back what was set for the load alone: a larger compute size, parameters, firewall rules of the machine that migrated.',
]

const ELSEWHERE = [
  'Switch on replication to a standby, and archiving of WAL or base backups; restore one of them once to see it work.',
]
