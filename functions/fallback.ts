import type { HttpRequest } from '@azure/functions'
import type { Surroundings } from '../migration/context.ts'
import { requestFallback } from '../migration/fallback/request-fallback.ts'
import { databaseFallback, parseFallbackRequest } from '../migration/model/fallback.ts'
import { migrationKey } from '../migration/model/migration-id.ts'
import { readFallbacks, readMigration } from '../migration/read-migration.ts'
import { cacheable, MIGRATION_ROUTE, migrationPath, notFound, readJson, route } from './http.ts'

/** The way back to the old source: POST asks to use it or to end it, GET shows where it is. */
const options = { route: `${MIGRATION_ROUTE}/fallback`, apiVersion: 'optional' as const }

route('changeFallback', { ...options, methods: ['POST'] }, async (request, base) => {
  const path = migrationPath(request)
  const asked = parseFallbackRequest(await readJson(request))
  if (!(await readMigration(base, migrationKey(path)))) throw notFound(path)
  await requestFallback(base, migrationKey(path), asked)
  return { status: 202, jsonBody: await fallbacksOf(request, base) }
})

route('getFallback', { ...options, methods: ['GET'] }, async (request, base) =>
  cacheable(request, await fallbacksOf(request, base)),
)

async function fallbacksOf(request: HttpRequest, base: Surroundings): Promise<object> {
  const path = migrationPath(request)
  const stored = await readMigration(base, migrationKey(path))
  if (!stored) throw notFound(path)
  return {
    value: readFallbacks(stored).map((one) => {
      const { database } = one.status
      const requested = stored.record.requests.fallback?.[database]?.action
      const fallback = databaseFallback(one)
      return {
        database,
        ...(requested === undefined ? {} : { requested }),
        ...(fallback === undefined ? {} : { fallback }),
      }
    }),
  }
}
