import type { DatabaseComparison } from './compare.ts'
import { columns, duration, whole } from './progress.ts'
import type { AcknowledgedCheck, WorkloadStats } from './workload.ts'

/** What happened to one database. */
export interface DatabaseResult {
  database: string
  tables: number
  rowsCopied: number
  changesApplied: number
  greatestLatencySeconds: number | null
  /** From the freeze of writes on the source until the target was ready, as the migration reports it. */
  downtimeSeconds: number | null
  cutoverSteps: { name: string; seconds: number }[]
  workload: WorkloadStats
  comparison: DatabaseComparison & { commits: AcknowledgedCheck }
}

/** What `--json` prints. */
export interface DemoResult {
  /** True when every row and sequence is equal, and every acknowledged transaction is there. */
  ok: boolean
  sourceVersion: string
  targetVersion: string
  seconds: { preparation: number; copy: number; following: number; cutover: number; comparison: number; total: number }
  databases: DatabaseResult[]
  /** Greatest downtime of the databases. */
  downtimeSeconds: number | null
  greatestLatencySeconds: number | null
  warnings: string[]
  page: string
}

/** The result in words; `kept` when servers and page stay up. */
export function summaryLines(result: DemoResult, kept: boolean): string[] {
  const { seconds } = result
  return [
    '',
    `Migrated ${result.databases.length} databases online from PostgreSQL ${result.sourceVersion} to ${result.targetVersion}, under load.`,
    '',
    ...columns(
      [
        ['Database', 'Tables', 'Rows copied', 'Changes applied', 'Greatest latency', 'Downtime', 'Writes refused'],
        ...result.databases.map((one) => [
          one.database,
          whole(one.tables),
          whole(one.rowsCopied),
          whole(one.changesApplied),
          optional(one.greatestLatencySeconds),
          optional(one.downtimeSeconds),
          whole(one.workload.refused),
        ]),
      ],
      2,
    ),
    '',
    ...columns(
      [
        ['Step', 'Time', ''],
        ['Preparation', duration(seconds.preparation), 'servers, sample data, workload'],
        ['Copy', duration(seconds.copy), 'from the request until every database was ready for cutover'],
        ['Following', duration(seconds.following), 'with the workload running'],
        ['Cutover', duration(seconds.cutover), 'from the request until the migration had succeeded'],
        ['Comparison', duration(seconds.comparison), 'every row and sequence of both sides'],
        ['Total', duration(seconds.total), ''],
      ],
      2,
    ),
    '',
    'Comparison of source and target:',
    ...result.databases.flatMap(comparisonLines),
    ...(result.warnings.length > 0
      ? ['', 'Warnings of the migration:', ...result.warnings.map((one) => `  ${one}`)]
      : []),
    '',
    `Page: ${result.page}${kept ? '' : ' (closed now; --keep leaves it up)'}`,
    result.ok ? 'Source and target are equal.' : 'Source and target are NOT equal.',
  ]
}

function comparisonLines({ database, workload, comparison }: DatabaseResult): string[] {
  const { equal, tables, rows, sequences, differences, commits } = comparison
  const lost = commits.missing > 0 || commits.unexpected > 0
  const facts = [
    `${whole(tables)} tables`,
    `${whole(rows)} rows`,
    `${whole(sequences)} sequences`,
    lost
      ? `of ${whole(commits.acknowledged)} acknowledged transactions ${whole(commits.missing)} missing, ${whole(commits.unexpected)} there that were not acknowledged`
      : `all ${whole(commits.acknowledged)} acknowledged transactions`,
  ]
  return [
    `  ${database}: ${equal && !lost ? 'equal' : 'DIFFERENT'}, ${facts.join(', ')}`,
    ...differences.slice(0, DIFFERENCES_SHOWN).map((difference) => `    ${difference}`),
    ...(differences.length > DIFFERENCES_SHOWN ? [`    and ${differences.length - DIFFERENCES_SHOWN} more`] : []),
    ...(workload.failed > 0
      ? [`    ${whole(workload.failed)} transactions of the workload failed: ${workload.errors.join('; ')}`]
      : []),
  ]
}

/** More are no help to a reader; `--json` has them all. */
const DIFFERENCES_SHOWN = 20

function optional(seconds: number | null): string {
  return seconds === null ? '-' : duration(seconds)
}
