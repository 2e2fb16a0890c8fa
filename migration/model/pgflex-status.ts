import type { ReadinessCheck } from './cutover-readiness.ts'
import type { PgflexStatus } from './migration-resource.ts'
import type {
  BackgroundComparison,
  CutoverReport,
  DatabaseStatus,
  FollowingVerification,
  ServerStatus,
  VerificationReport,
} from './status.ts'

/** Our part of a database's status. */
export function databasePgflex(
  status: DatabaseStatus,
  actions: string[],
  readiness: ReadinessCheck[] | undefined,
): PgflexStatus {
  const {
    phase,
    progress,
    lagBytes,
    latencySeconds,
    maxLatencySeconds,
    slot,
    cutover,
    verification,
    comparison,
    warnings,
  } = status
  return {
    actions,
    phase,
    progress: { ...progress },
    ...(lagBytes === undefined ? {} : { lagBytes }),
    ...(latencySeconds === undefined ? {} : { latencySeconds }),
    ...(maxLatencySeconds === undefined ? {} : { maxLatencySeconds }),
    ...(slot === undefined ? {} : { slot }),
    ...(cutover === undefined ? {} : { cutover }),
    ...(verification === undefined ? {} : { verification }),
    ...(comparison === undefined ? {} : { comparison }),
    ...(readiness === undefined ? {} : { readiness }),
    warnings,
  }
}

/** Our part of the whole: sums over the databases, and the greatest latency of them. */
export function serverPgflex(server: ServerStatus, databases: DatabaseStatus[], actions: string[]): PgflexStatus {
  const lagBytes = present(databases.map((status) => status.lagBytes))
  const latencies = present(databases.map((status) => status.latencySeconds))
  const maxLatencies = present(databases.map((status) => status.maxLatencySeconds))
  const ends = present(databases.map((status) => status.progress.estimatedEnd))
  const slots = present(databases.map((status) => status.slot))
  const cutover = overallCutover(databases)
  const verification = overallVerification(databases)
  const comparison = overallComparison(present(databases.map((status) => status.comparison)))
  return {
    actions,
    phase: overallPhase(server, databases),
    progress: {
      rowsDone: sum(databases.map((status) => status.progress.rowsDone)),
      rowsTotal: sum(databases.map((status) => status.progress.rowsTotal)),
      bytesDone: sum(databases.map((status) => status.progress.bytesDone)),
      bytesTotal: sum(databases.map((status) => status.progress.bytesTotal)),
      ...(ends.length === 0 ? {} : { estimatedEnd: ends.toSorted().at(-1)! }),
    },
    ...(lagBytes.length === 0 ? {} : { lagBytes: sum(lagBytes) }),
    ...(latencies.length === 0 ? {} : { latencySeconds: Math.max(...latencies) }),
    ...(maxLatencies.length === 0 ? {} : { maxLatencySeconds: Math.max(...maxLatencies) }),
    ...(slots.length === 0 ? {} : { slot: overallSlot(slots) }),
    ...(cutover === undefined ? {} : { cutover }),
    ...(verification === undefined ? {} : { verification }),
    ...(comparison === undefined ? {} : { comparison }),
    warnings: [
      ...server.warnings,
      ...databases.flatMap(({ database, warnings }) => warnings.map((warning) => `${database}: ${warning}`)),
    ],
  }
}

/** The worst of them, and the sum of what they keep. */
export function overallSlot(slots: NonNullable<DatabaseStatus['slot']>[]): NonNullable<PgflexStatus['slot']> {
  const safe = present(slots.map((slot) => slot.safeWalBytes))
  return {
    walStatus: worst(slots.map((slot) => slot.walStatus)),
    retainedBytes: sum(slots.map((slot) => slot.retainedBytes)),
    ...(safe.length === 0 ? {} : { safeWalBytes: Math.min(...safe) }),
  }
}

const DATABASE_PHASES: DatabaseStatus['phase'][] = [
  'Queued',
  'PreparingSchema',
  'CreatingSlot',
  'CopyingData',
  'BuildingIndexes',
  'Following',
  'CuttingOver',
  'CleaningUp',
  'Ended',
]

/** While data is migrated: the phase of the database that is furthest behind. */
function overallPhase(server: ServerStatus, databases: DatabaseStatus[]): string {
  if (server.phase !== 'Migrating') return server.phase
  return DATABASE_PHASES.find((phase) => databases.some((status) => status.phase === phase)) ?? server.phase
}

/** https://www.postgresql.org/docs/current/view-pg-replication-slots.html, from good to bad */
const WAL_STATUSES = ['reserved', 'extended', 'unreserved', 'lost']

function worst(statuses: string[]): string {
  return statuses.reduce((a, b) => (WAL_STATUSES.indexOf(a) >= WAL_STATUSES.indexOf(b) ? a : b))
}

/** From the first start to the last end; the downtime is that of the database that was down longest. */
export function overallCutover(databases: DatabaseStatus[]): PgflexStatus['cutover'] {
  const reports = databases.flatMap(({ database, cutover }) => (cutover ? [{ database, cutover }] : []))
  if (reports.length === 0) return undefined
  const downtimes = present(reports.map(({ cutover }) => cutover.downtimeSeconds))
  const ends = present(reports.map(({ cutover }) => cutover.endedAt))
  return {
    startedAt: reports.map(({ cutover }) => cutover.startedAt).toSorted()[0]!,
    ...(ends.length < reports.length ? {} : { endedAt: ends.toSorted().at(-1)! }),
    ...(downtimes.length === 0 ? {} : { downtimeSeconds: Math.max(...downtimes) }),
    steps: reports.flatMap(({ database, cutover }) => stepsOf(database, cutover)),
  }
}

function stepsOf(database: string, { steps }: CutoverReport): NonNullable<PgflexStatus['cutover']>['steps'] {
  return steps.map((step) => ({ database, ...step }))
}

/** Equal only when every comparison that was made found everything equal. */
function overallVerification(databases: DatabaseStatus[]): PgflexStatus['verification'] {
  const reports = databases.flatMap(({ database, verification }) => (verification ? [{ database, verification }] : []))
  const [first] = reports
  if (!first) return undefined
  const results = reports.map(({ verification }) => verification.result)
  const whileFollowing = overallFollowing(
    reports.flatMap(({ database, verification: { whileFollowing: report } }) => (report ? [{ database, report }] : [])),
  )
  const parts = (part: 'atMarks' | 'whole'): Pick<VerificationReport, 'atMarks' | 'whole'> => {
    const known = present(reports.map(({ verification }) => verification[part]))
    if (known.length === 0) return {}
    return { [part]: { tables: sum(known.map(({ tables }) => tables)), rows: sum(known.map(({ rows }) => rows)) } }
  }
  const result: VerificationReport['result'] =
    (['Different', 'Running', 'Skipped'] as const).find((one) => results.includes(one)) ?? 'Equal'
  return {
    mode: first.verification.mode,
    result,
    tables: sum(reports.map(({ verification }) => verification.tables)),
    rows: sum(reports.map(({ verification }) => verification.rows)),
    seconds: Math.max(...reports.map(({ verification }) => verification.seconds)),
    differences: reports.flatMap(({ database, verification }) =>
      verification.differences.map((difference) => ({ database, ...difference })),
    ),
    ...parts('atMarks'),
    ...parts('whole'),
    ...(whileFollowing === undefined ? {} : { whileFollowing }),
  }
}

function overallComparison(comparisons: BackgroundComparison[]): BackgroundComparison | undefined {
  if (comparisons.length === 0) return undefined
  return {
    running: comparisons.some(({ running }) => running),
    tables: sum(comparisons.map(({ tables }) => tables)),
    tablesCompared: sum(comparisons.map(({ tablesCompared }) => tablesCompared)),
    bytes: sum(comparisons.map(({ bytes }) => bytes)),
    bytesCompared: sum(comparisons.map(({ bytesCompared }) => bytesCompared)),
  }
}

/** From the first request to the last end. */
function overallFollowing(
  reports: { database: string; report: FollowingVerification }[],
): NonNullable<PgflexStatus['verification']>['whileFollowing'] {
  if (reports.length === 0) return undefined
  const ends = present(reports.map(({ report }) => report.endedAt))
  return {
    requestedAt: reports.map(({ report }) => report.requestedAt).toSorted()[0]!,
    ...(ends.length < reports.length ? {} : { endedAt: ends.toSorted().at(-1)! }),
    tablesDone: sum(reports.map(({ report }) => report.tablesDone)),
    unsettledRows: sum(reports.map(({ report }) => report.unsettledRows)),
    skipped: reports.flatMap(({ database, report }) => report.skipped.map((one) => ({ database, ...one }))),
    objects: reports.flatMap(({ database, report }) => report.objects.map((one) => ({ database, ...one }))),
  }
}

function sum(values: number[]): number {
  return values.reduce((a, b) => a + b, 0)
}

function present<T>(values: (T | undefined)[]): T[] {
  return values.filter((value) => value !== undefined)
}
