import { databaseContext, serverContext, type ServerContext, type Surroundings } from './context.ts'
import { readDatabaseDetails, type DatabaseArchive } from './cutover/archive-database.ts'
import { errorText, isTransient } from './errors.ts'
import { afterCutover, type AfterCutover } from './model/after-cutover.ts'
import type { Migration } from './model/migration-resource.ts'
import type { DatabaseStatus, MigrationEvent, ParameterReport } from './model/status.ts'
import { resourceOf, type StoredMigration } from './read-migration.ts'
import { readEvents } from './store/migrations.ts'

/** All that there is to say of a migration: what the report is made of, and the report as JSON. No secrets. */
export interface MigrationReport {
  generatedAt: string
  versions: { pgflex: string; source?: string; target?: string }
  source: { host: string; port: number }
  target: { host: string; port: number }
  /** The resource: settings, status, validation, cutover, comparison, warnings. */
  migration: Migration
  databases: DatabaseReport[]
  parameters: ParameterReport[]
  events: MigrationEvent[]
}

export interface DatabaseReport extends DatabaseArchive {
  database: string
  /** Why tables and samples are not shown. */
  problem?: string
  afterCutover: AfterCutover
}

/** Reads all of it: of a running migration from its target, of one that has ended from what was archived. */
export async function readReport(
  base: Surroundings,
  stored: StoredMigration,
  pgflexVersion: string,
): Promise<MigrationReport> {
  const { record, server } = stored
  const { sourceVersion, targetVersion } = server
  const events = await readEvents(base.documents, record.key)
  return {
    generatedAt: new Date().toISOString(),
    versions: {
      pgflex: pgflexVersion,
      ...(sourceVersion === undefined ? {} : { source: sourceVersion }),
      ...(targetVersion === undefined ? {} : { target: targetVersion }),
    },
    source: { host: record.source.host, port: record.source.port },
    target: { host: record.target.host, port: record.target.port },
    migration: resourceOf(stored),
    databases: await readDatabases(await serverContext(base, record.key), stored.databases),
    parameters: server.parameters ?? [],
    events,
  }
}

/** A target that does not answer is told; all else is shown nevertheless: a report is read after a failure, too. */
async function readDatabases(context: ServerContext, statuses: DatabaseStatus[]): Promise<DatabaseReport[]> {
  const reports: DatabaseReport[] = []
  let away: string | undefined
  for (const status of statuses) {
    const { database } = status
    const report = { database, tables: [], samples: [], afterCutover: afterCutover(context.record, database) }
    // Nothing is there before the schema is: no need to ask.
    if (status.phase === 'Queued') {
      reports.push(report)
      continue
    }
    // The archives are no matter of the target: each database that has one is shown, also when the target is away.
    if (away !== undefined && status.phase !== 'Ended') {
      reports.push({ ...report, problem: away })
      continue
    }
    try {
      reports.push({ ...report, ...(await readDatabaseDetails(databaseContext(context, database))) })
    } catch (error) {
      const problem = `Tables and samples could not be read from the target: ${errorText(error)}`
      if (isTransient(error)) away = problem
      reports.push({ ...report, problem })
    }
  }
  return reports
}
