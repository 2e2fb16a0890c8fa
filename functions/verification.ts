import type { HttpRequest, HttpResponseInit } from '@azure/functions'
import type { Surroundings } from '../migration/context.ts'
import { migrationKey } from '../migration/model/migration-id.ts'
import { isAsked } from '../migration/model/record.ts'
import { parseVerifyRequest } from '../migration/model/verification-request.ts'
import { readMigration } from '../migration/read-migration.ts'
import { isEnded } from '../migration/status.ts'
import { requestVerification } from '../migration/verify/request-verification.ts'
import { cacheable, MIGRATION_ROUTE, migrationPath, notFound, readJson, route } from './http.ts'

/** The comparison of source and target while following: POST asks for it, GET shows what has come of it. */
const options = { route: `${MIGRATION_ROUTE}/verify`, apiVersion: 'optional' as const }

route('startVerification', { ...options, methods: ['POST'] }, async (request, base) => {
  const path = migrationPath(request)
  if (!(await readMigration(base, migrationKey(path)))) throw notFound(path)
  const text = await request.text()
  const body = text.trim() === '' ? {} : await readJson({ text: () => Promise.resolve(text) })
  await requestVerification(base, migrationKey(path), parseVerifyRequest(body).databases)
  return { status: 202, jsonBody: await verificationsOf(request, base) }
})

route('getVerification', { ...options, methods: ['GET'] }, async (request, base): Promise<HttpResponseInit> =>
  cacheable(request, await verificationsOf(request, base)),
)

async function verificationsOf(request: HttpRequest, base: Surroundings): Promise<object> {
  const path = migrationPath(request)
  const stored = await readMigration(base, migrationKey(path))
  if (!stored) throw notFound(path)
  return {
    value: stored.databases.map((status) => ({
      database: status.database,
      // The request stays until the comparison has ended. That of a database that has ended is not carried out.
      requested: isAsked(stored.record, 'verify', status.database) && !isEnded(status),
      ...(status.verification === undefined ? {} : { verification: status.verification }),
    })),
  }
}
