import type { Connection } from '../connect.ts'
import type { ServerContext } from '../context.ts'
import { errorText, isTransient, MigrationError } from '../errors.ts'
import { readApplyRights } from '../fallback/apply-rights.ts'
import type { ValidationDetails, ValidationSummaryItem } from '../model/status.ts'
import { updateServerStatus } from '../store/migrations.ts'
import { readAvailableExtensions, readSourceDatabaseFacts } from './database-facts.ts'
import { checkDatabase } from './database-checks.ts'
import { checkFallbackDatabase, checkFallbackServer } from './fallback-checks.ts'
import { checkServers, summarize, worst } from './server-checks.ts'
import { readServerFacts, type ServerFacts } from './server-facts.ts'
import { findOccupiedDatabases, MAINTENANCE_DATABASE } from './target-databases.ts'

/**
 * Validates the migration as a whole and each database, and stores the result.
 *
 * @returns whether it may go on: nothing failed; warnings don't stop it
 */
export async function validate(context: ServerContext): Promise<{ proceed: boolean }> {
  const startedAt = now()
  await updateServerStatus(context.documents, context.key, { phase: 'Validating', waitingFor: undefined })
  const servers = await validateServers(context)
  const databases: ValidationDetails['dbLevelValidationDetails'] = []
  if (servers.target) {
    const needs = {
      occupied: await findOccupiedDatabases(context),
      availableExtensions: await extensionsOfTarget(context),
    }
    for (const database of context.record.properties.dbsToMigrate) {
      const startedOn = now()
      databases.push({
        databaseName: database,
        startedOn,
        summary: await validateDatabase(context, database, needs),
        endedOn: now(),
      })
    }
  }
  const status = worst([...servers.items, ...databases.flatMap(({ summary }) => summary)])
  await updateServerStatus(context.documents, context.key, {
    validation: {
      status,
      validationStartTimeInUtc: startedAt,
      validationEndTimeInUtc: now(),
      serverLevelValidationDetails: servers.items,
      dbLevelValidationDetails: databases,
    },
    ...(servers.source ? { sourceVersion: servers.source.version } : {}),
    ...(servers.target ? { targetVersion: servers.target.version } : {}),
  })
  await context.event({
    level: status === 'Failed' ? 'error' : status === 'Warning' ? 'warning' : 'info',
    event: 'Validated',
    message: `Validation ended: ${status}.`,
  })
  return { proceed: status !== 'Failed' }
}

interface ServersResult {
  items: ValidationSummaryItem[]
  source?: ServerFacts
  /** Absent when a server could not be reached: there is nothing more to look at then. */
  target?: ServerFacts
}

async function validateServers(context: ServerContext): Promise<ServersResult> {
  const { properties } = context.record
  const facts: { source?: ServerFacts; target?: ServerFacts } = {}
  let maySignal = false
  const findings = []
  for (const side of ['source', 'target'] as const) {
    try {
      await using connection = await context.connect(side, MAINTENANCE_DATABASE, 'validation').catch((error) => {
        // Not every role may connect to the maintenance database of the source: its own database serves as well.
        if (side === 'source' && mayTryAnotherDatabase(error))
          return context.connect(side, properties.dbsToMigrate[0]!, 'validation')
        throw error
      })
      facts[side] = await readServerFacts(connection)
      if (side === 'target') maySignal = await maySignalOthers(connection)
    } catch (error) {
      findings.push({ state: 'Failed' as const, message: failureText(error) })
    }
  }
  const connectivity = summarize('AuthenticationAndConnectivityValidation', findings)
  if (!facts.source || !facts.target)
    return { items: [connectivity], ...(facts.source ? { source: facts.source } : {}) }
  const needs = { online: properties.migrationMode === 'Online', databases: properties.dbsToMigrate.length }
  const { fallback, writeFreeze } = properties.pgflex
  const wayBack =
    fallback === 'None'
      ? []
      : [checkFallbackServer(facts.target, { databases: needs.databases, writeFreeze, maySignal })]
  return { items: [connectivity, ...checkServers(facts.source, facts.target, needs), ...wayBack], ...facts }
}

/** pg_signal_backend, or a role that has it. */
async function maySignalOthers(connection: Connection): Promise<boolean> {
  const { rows } = await connection.query<{ may: string }>(`select pg_has_role('pg_signal_backend', 'usage') as may`)
  return rows[0]!.may === 't'
}

function mayTryAnotherDatabase(error: unknown): boolean {
  // 603000 with SQLSTATE 42501: no CONNECT on that database; 603102: it was dropped.
  return (
    error instanceof MigrationError && (error.code === '603102' || (error.code === '603000' && !isTransient(error)))
  )
}

async function extensionsOfTarget(context: ServerContext): Promise<string[]> {
  await using target = await context.connect('target', MAINTENANCE_DATABASE, 'validation')
  return await readAvailableExtensions(target)
}

async function validateDatabase(
  context: ServerContext,
  database: string,
  { occupied, availableExtensions }: { occupied: string[]; availableExtensions: string[] },
): Promise<ValidationSummaryItem[]> {
  const { properties, source } = context.record
  try {
    await using connection = await context.connect('source', database, 'validation')
    const facts = await readSourceDatabaseFacts(connection)
    const wayBack =
      properties.pgflex.fallback === 'None'
        ? []
        : [
            checkFallbackDatabase(database, source.user, {
              rights: await readApplyRights(connection),
              mayCreate: facts.mayCreate || facts.ownsDatabase,
            }),
          ]
    const items = checkDatabase(facts, {
      database,
      sourceUser: source.user,
      online: properties.migrationMode === 'Online',
      writeFreeze: properties.pgflex.writeFreeze,
      availableExtensions,
      occupied: occupied.includes(database),
      overwrite: properties.overwriteDbsInTarget,
    })
    return [...items, ...wayBack]
  } catch (error) {
    return [summarize('AuthenticationAndConnectivityValidation', [{ state: 'Failed', message: failureText(error) }])]
  }
}

/** Code, what happened and what to do, in one line. */
function failureText(error: unknown): string {
  if (!(error instanceof MigrationError)) return errorText(error)
  return [`${error.code}: ${error.message}`, error.hint].filter((part) => part !== undefined).join(' ')
}

function now(): string {
  return new Date().toISOString()
}
