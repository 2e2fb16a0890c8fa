import type { HttpRequest, HttpResponseInit } from '@azure/functions'
import { databaseContext, serverContext, type Surroundings } from '../migration/context.ts'
import { readDatabaseDetails, type DatabaseArchive } from '../migration/cutover/archive-database.ts'
import { MigrationError } from '../migration/errors.ts'
import { InvalidInput, problem } from '../migration/model/invalid-input.ts'
import { migrationKey } from '../migration/model/migration-id.ts'
import { readMigration, type StoredMigration } from '../migration/read-migration.ts'
import { readEvents } from '../migration/store/migrations.ts'
import { cacheable, MIGRATION_ROUTE, migrationPath, notFound, queryParameter, route } from './http.ts'

/** Sub-resources of a migration, our own: what the tables, events and plots are drawn from. */
type Detail = (request: HttpRequest, base: Surroundings, stored: StoredMigration) => Promise<HttpResponseInit>

function detail(name: string, handler: Detail): void {
  const options = { methods: ['GET' as const], route: `${MIGRATION_ROUTE}/${name}`, apiVersion: 'optional' as const }
  route(`migration-${name}`, options, async (request, base) => handler(request, base, await find(request, base)))
}

async function find(request: HttpRequest, base: Surroundings): Promise<StoredMigration> {
  const path = migrationPath(request)
  const stored = await readMigration(base, migrationKey(path))
  if (!stored) throw notFound(path)
  return stored
}

detail('tables', async (request, base, stored) => {
  const details = await detailsOf(base, stored, databasesOf(request, stored))
  return cacheable(request, {
    value: details.flatMap(({ database, tables }) => tables.map((table) => ({ database, ...table }))),
  })
})

detail('samples', async (request, base, stored) => {
  const since = timeParameter(request, 'since')
  const details = await detailsOf(base, stored, databasesOf(request, stored), since)
  const samples = details.flatMap((one) => one.samples)
  return cacheable(request, { value: samples.toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)) })
})

detail('events', async (request, base, { record }) => {
  const since = timeParameter(request, 'since')
  const database = queryParameter(request, 'database')
  const events = await readEvents(base.documents, record.key)
  return cacheable(request, {
    value: events.filter(
      (event) => (since === undefined || event.at > since) && (database === undefined || event.database === database),
    ),
  })
})

detail('validation', async (request, _base, { server }) => {
  if (!server.validation)
    throw new MigrationError('ResourceNotFound', 'The validation of this migration has not ended yet, or it has none.')
  return cacheable(request, server.validation)
})

detail('parameters', async (request, _base, { server }) => cacheable(request, { value: server.parameters ?? [] }))

/** @throws {InvalidInput} a database that isn't one of this migration */
function databasesOf(request: HttpRequest, { record }: StoredMigration): string[] {
  const all = record.properties.dbsToMigrate
  const database = queryParameter(request, 'database')
  if (database === undefined) return all
  if (!all.includes(database)) {
    throw new InvalidInput([
      problem('database', `"${database}" is not a database of this migration; its databases are ${all.join(', ')}.`),
    ])
  }
  return [database]
}

/** One after the other: each may be a connection to the target. */
async function detailsOf(
  base: Surroundings,
  { record, databases: statuses }: StoredMigration,
  databases: string[],
  since?: string,
): Promise<({ database: string } & DatabaseArchive)[]> {
  const context = await serverContext(base, record.key)
  const details = []
  for (const database of databases) {
    // Nothing is there before the schema is: no need to ask a server that may not even answer.
    const queued = statuses.some((status) => status.database === database && status.phase === 'Queued')
    details.push({
      database,
      ...(queued ? { tables: [], samples: [] } : await readDatabaseDetails(databaseContext(context, database), since)),
    })
  }
  return details
}

function timeParameter(request: HttpRequest, name: string): string | undefined {
  const text = queryParameter(request, name)
  if (text === undefined) return undefined
  const time = Date.parse(text)
  if (Number.isNaN(time))
    throw new InvalidInput([problem(name, `${name} must be a time such as 2026-01-31T18:00:00Z.`)])
  return new Date(time).toISOString()
}
