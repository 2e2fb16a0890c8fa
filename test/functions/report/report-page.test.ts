import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { reportPage } from '../../../functions/report/report-page.ts'
import { afterCutover } from '../../../migration/model/after-cutover.ts'
import type { DatabaseStatus } from '../../../migration/model/status.ts'
import { resourceOf } from '../../../migration/read-migration.ts'
import type { MigrationReport } from '../../../migration/report.ts'
import { database, record, SECRETS, server, waiting } from '../../migration/model/example.ts'

const HOSTILE = `<script>alert("1")</script>&'<img src=x onerror=alert(2)>`

function report(databases: DatabaseStatus[], more: Partial<MigrationReport> = {}): MigrationReport {
  const migration = record({ dbsToMigrate: databases.map((one) => one.database) })
  return {
    generatedAt: '2026-11-22T09:00:00.000Z',
    versions: { pgflex: '0.1.0', source: '13.23', target: '18.4' },
    source: { host: 'source.example.com', port: 5433 },
    target: { host: 'target.postgres.database.azure.com', port: 5432 },
    migration: resourceOf({ record: migration, server: server(), databases }),
    databases: databases.map((one) => ({
      database: one.database,
      tables: [],
      samples: [],
      afterCutover: afterCutover(migration, one.database),
    })),
    parameters: [],
    events: [],
    ...more,
  }
}

/** A database of which every text is hostile. */
function hostile(): MigrationReport {
  const at = '2026-11-22T08:10:00.000Z'
  const status = waiting(HOSTILE, {
    message: HOSTILE,
    warnings: [HOSTILE],
    cutover: {
      startedAt: at,
      endedAt: at,
      downtimeSeconds: 1.5,
      steps: [{ name: HOSTILE, startedAt: at, message: HOSTILE }],
    },
    verification: {
      mode: 'Checksums',
      result: 'Different',
      tables: 1,
      rows: 2,
      seconds: 3,
      differences: [{ table: HOSTILE, source: HOSTILE, target: HOSTILE }],
    },
  })
  const base = report([status])
  const copied = { rowsTotal: 10, rowsDone: 5, bytesTotal: 4096, bytesDone: 2048, startedAt: at, endedAt: at }
  const table = { schema: HOSTILE, table: HOSTILE, state: 'completed' as const, message: HOSTILE, ...copied }
  const sample = { database: HOSTILE, latencySeconds: 1, lagBytes: 100, rowsCopied: 1, bytesCopied: 1 }
  return {
    ...base,
    versions: { pgflex: HOSTILE, source: HOSTILE, target: HOSTILE },
    migration: {
      ...base.migration,
      name: HOSTILE,
      properties: {
        ...base.migration.properties,
        currentStatus: {
          ...base.migration.properties.currentStatus,
          error: HOSTILE,
          currentSubStateDetails: {
            ...base.migration.properties.currentStatus.currentSubStateDetails,
            validationDetails: {
              status: 'Failed',
              validationStartTimeInUtc: at,
              validationEndTimeInUtc: at,
              serverLevelValidationDetails: [
                { type: HOSTILE, state: 'Failed', messages: [{ state: 'Failed', message: HOSTILE }] },
              ],
              dbLevelValidationDetails: [],
            },
          },
        },
      },
    },
    databases: [
      {
        ...base.databases[0]!,
        problem: HOSTILE,
        tables: [table],
        samples: [
          { ...sample, at, changesApplied: 0 },
          { ...sample, at: '2026-11-22T08:10:02.000Z', changesApplied: 500 },
        ],
      },
    ],
    parameters: [
      { name: HOSTILE, scope: 'server', sourceValue: HOSTILE, targetValue: HOSTILE, result: 'NotSet', reason: HOSTILE },
    ],
    events: [
      { at, level: 'error', event: HOSTILE, database: HOSTILE, message: HOSTILE },
      { at, level: 'info', event: 'LargeObjectsCopied', database: HOSTILE, message: HOSTILE },
    ],
  }
}

it('no text from outside becomes a part of the page', () => {
  const page = reportPage(hostile())
  const tags = new Set([...page.matchAll(/<\/?([a-z0-9]+)/gi)].map(([, name]) => name!.toLowerCase()))
  expect([...tags].filter((tag) => ['script', 'img'].includes(tag))).toEqual([])
  // Every sign of the name stands there as an entity, in each of its many places.
  expect(page).not.toContain('onerror=alert(2)>')
  expect(page.split('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;&lt;img').length).toBeGreaterThan(30)
})

it('needs nothing from elsewhere, and allows no script and no other style than its own', () => {
  const page = reportPage(hostile())
  expect(page).not.toMatch(/<(script|link|iframe|object|embed|form)\b|\s(src|href|style|on\w+)="/i)
  const style = /<style>([^]*?)<\/style>/.exec(page)![1]!
  const hash = createHash('sha256').update(style).digest('base64')
  expect(page).toContain(`default-src &#39;none&#39;; style-src &#39;sha256-${hash}&#39;`)
})

it('has every section, from the first moment of a migration on', () => {
  const page = reportPage(report([database('a')]))
  expect([...page.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, title]) => title)).toEqual([
    'Summary',
    'Warnings',
    'Readiness for cutover',
    'Cutover',
    'Comparison',
    'After the cutover',
    'What was moved',
    'Load, throughput and latency',
    'Parameters and roles',
    'Validation',
    'Events',
  ])
  expect(page).toContain('Nothing was measured.')
  expect(page).not.toMatch(/undefined|NaN|\[object/)
})

it('shows the cutover, the comparison and the plots in numbers that people read', () => {
  const page = reportPage(hostile())
  expect(page).toContain('Downtime <strong>1.5 s</strong>')
  expect(page).toMatch(/<strong class="bad">Different<\/strong>: Checksums, 1 tables, 2 rows,\s+3 s/)
  expect(page).toMatch(/aria-label="Changes applied in a second: 250\/s at the end, 250\/s at most"/)
  expect(page).toContain('2.0 KiB')
  expect(page).not.toMatch(/undefined|NaN|\[object/)
})

it('holds no password', () => {
  expect(SECRETS.filter((secret) => reportPage(report([waiting('a')])).includes(secret))).toEqual([])
})

it('leaves small tables out of the page where there are too many, and none that failed', () => {
  const base = report([waiting('a')])
  const tables = Array.from({ length: 1_200 }, (_, index) => ({
    schema: 'public',
    table: `t${index}`,
    state: index === 7 ? ('errored' as const) : ('completed' as const),
    rowsTotal: index,
    rowsDone: index,
    bytesTotal: index,
    bytesDone: index,
  }))
  const page = reportPage({ ...base, databases: [{ ...base.databases[0]!, tables }] })
  expect(page).toContain('<td>public.t7</td>')
  expect(page).toContain('<td>public.t1199</td>')
  expect(page).not.toContain('<td>public.t8</td>')
  expect(page).toContain('200 smaller ones are left out here')
})
