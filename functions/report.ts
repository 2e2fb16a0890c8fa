import type { HttpRequest } from '@azure/functions'
import { InvalidInput, problem } from '../migration/model/invalid-input.ts'
import { migrationKey } from '../migration/model/migration-id.ts'
import { readMigration } from '../migration/read-migration.ts'
import { readReport } from '../migration/report.ts'
import { MIGRATION_ROUTE, migrationPath, notFound, queryParameter, route } from './http.ts'
import { packageVersion } from './package-root.ts'
import { CONTENT_SECURITY_POLICY, reportPage } from './report/report-page.ts'

route(
  'migration-report',
  { methods: ['GET'], route: `${MIGRATION_ROUTE}/report`, apiVersion: 'optional' },
  async (request, base) => {
    const format = formatOf(request)
    const path = migrationPath(request)
    const stored = await readMigration(base, migrationKey(path))
    if (!stored) throw notFound(path)
    const report = await readReport(base, stored, packageVersion())
    if (format === 'json') return { status: 200, jsonBody: report }
    return {
      status: 200,
      headers: {
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': `${CONTENT_SECURITY_POLICY}; frame-ancestors 'none'`,
        'referrer-policy': 'no-referrer',
      },
      body: reportPage(report),
    }
  },
)

/** A page, unless JSON is asked for by ?format=json or an Accept that has JSON and no HTML. */
function formatOf(request: HttpRequest): 'html' | 'json' {
  const given = queryParameter(request, 'format')?.toLowerCase()
  if (given === 'html' || given === 'json') return given
  if (given !== undefined) throw new InvalidInput([problem('format', 'format must be one of html, json.')])
  const accept = request.headers.get('accept') ?? ''
  return /\bjson\b/i.test(accept) && !/\bhtml\b/i.test(accept) ? 'json' : 'html'
}
