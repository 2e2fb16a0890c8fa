import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { checkFence } from '../control/lease.ts'
import { MigrationError } from '../errors.ts'
import { tableFilter } from '../model/table-filter.ts'
import { id } from '../sql.ts'
import { schemaWarnings, skipReason, withoutFollowUps, withRightOnSchema } from './apply-pre-data.ts'
import { readConstraintTarget } from './constraint-target.ts'
import { referencedTable, splitConstraints } from './constraint-statements.ts'
import { dumpSchema } from './dump.ts'
import { isRelation, relationName, skipLeftOut } from './left-out.ts'
import {
  ANALYZE,
  ANALYZE_VIEW,
  scheduleCutover,
  scheduleLoad,
  scheduleValidation,
  stageOf,
  validationsBeforeRowSecurity,
  type PostDataStage,
  type Schedule,
} from './post-data-order.ts'
import { planAnalyze, readDescendants } from './plan-analyze.ts'
import { readTargetRoles, type TargetRoles } from './roles.ts'
import type { StatementRules } from './run-statements.ts'
import { openSchemaSessions, type SchemaSessions } from './schema-session.ts'
import { runBatch, runParallel } from './schema-workers.ts'
import { splitDump, type SchemaStatement } from './split.ts'
import { objectTitle, readStatements, storeStatements, type PlannedStatement } from './statements.ts'

export interface PostDataResult {
  /** Statements of the stage that are done; statistics do not count. */
  applied: number
  failed: { kind: string; object: string; message: string }[]
  /** What was left out or drew a warning of the server: owners, grants, comments. */
  warnings: string[]
}

/**
 * Stores the statements that come after the data: once, whatever happens to the schema of the source later.
 *
 * @throws {MigrationError} SchemaDumpFailed, Busy
 */
export async function planPostData(context: DatabaseContext): Promise<void> {
  await using sessions = await openSchemaSessions(context)
  const session = await sessions.open()
  if ((await readStatements(session, 'post-data')).length > 0) return
  const dumped = await splitDump(await dumpSchema(context, 'post-data', { signal: sessions.lease.lost }))
  const leftOut = new Set(
    (await readStatements(session, 'pre-data'))
      .filter(({ kind, state }) => state === 'skipped' && isRelation(kind))
      .map(({ schemaName, objectName }) => relationName(schemaName ?? '', objectName ?? '')),
  )
  const filter = tableFilter(context.record.properties.pgflex)
  const kept = skipLeftOut(dumped.filter(isOfUser).flatMap(underPolicies), filter, leftOut)
  const statements = [
    ...splitConstraints(kept, await readConstraintTarget(session)),
    ...(await planAnalyze(session, filter)),
  ]
  await session.query('begin')
  await storeStatements(session, 'post-data', statements)
  await checkFence(session, sessions.lease)
  await session.query('commit')
}

/** Publications of pgflex itself are in the source while it reads from it. */
export function isOfUser({ kind, objectName }: SchemaStatement): boolean {
  return !(/PUBLICATION/.test(kind) && objectName?.startsWith('pgflex') === true)
}

/**
 * A materialized view holds what its owner may see: under policies on the source, so here as well. It is filled at
 * the cutover, and has its statistics collected with the validations, after it.
 */
function underPolicies(statement: SchemaStatement): SchemaStatement[] {
  const { kind, schemaName, objectName, sql } = statement
  if (kind !== 'MATERIALIZED VIEW DATA' || schemaName === null || objectName === null) return [statement]
  return [
    { ...statement, sql: `set local row_security = on;\n${sql};\nset local row_security = off` },
    { ...statement, kind: ANALYZE_VIEW, sql: `ANALYZE ${id(schemaName, objectName)}` },
  ]
}

/**
 * Runs what is still to be done of a stage: `load` what tables need after their data, over several connections;
 * `cutover` what fires or checks, one after the other. Each statement is recorded in its own transaction, so
 * that it is done exactly once; one that fails does not stop the others, and is not tried again.
 *
 * When the host stops, what is not done stays to be done: `load` returns early, the others throw.
 *
 * @throws {MigrationError} Busy, LeaseLost, Draining
 */
export async function applyPostData(context: DatabaseContext, stage: PostDataStage): Promise<PostDataResult> {
  await using sessions = await openSchemaSessions(context)
  try {
    return await runStage(context, sessions, stage)
  } catch (error) {
    // The sessions are ended when the host stops.
    if (!context.draining.aborted || stage !== 'load') throw error
    return { applied: 0, failed: [], warnings: [] }
  }
}

async function runStage(
  context: DatabaseContext,
  sessions: SchemaSessions,
  stage: PostDataStage,
): Promise<PostDataResult> {
  const session = await sessions.open()
  const rules = postDataRules(await readTargetRoles(session))
  const ofStage = async (): Promise<PlannedStatement[]> =>
    (await readStatements(session, 'post-data')).filter(({ kind }) => stageOf(kind) === stage)
  const schedule = await scheduleStage(session, stage)
  await runParallel(context, session, sessions, rules, async () => ({ transactions: schedule.parallel, more: false }))
  for (const batch of schedule.sequential) {
    if (context.draining.aborted) break
    await runBatch(session, sessions, batch, rules)
  }
  if (context.draining.aborted) {
    throw new MigrationError('Draining', 'The host is about to stop; the schema goes on later.', { retryable: true })
  }
  return postDataResult(await ofStage())
}

async function scheduleStage(session: Connection, stage: PostDataStage): Promise<Schedule> {
  const pending = await readStatements(session, 'post-data', { pending: true })
  const open = pending.filter(({ kind }) => stageOf(kind) === stage)
  switch (stage) {
    case 'load':
      return scheduleLoad(open, {
        bytes: await readRelationBytes(session),
        descendants: await readDescendants(session),
      })
    case 'cutover': {
      const forced = await readForcedTables(session)
      // Within the downtime, and to measure every table takes its time.
      if (forced.size === 0) return scheduleCutover(open)
      const all = await readStatements(session, 'post-data')
      const early = validationsBeforeRowSecurity(all, forced, await readRelationBytes(session), referencedTable)
      return scheduleCutover([...open, ...early.filter(({ state }) => state === 'pending')])
    }
    case 'validate':
      return scheduleValidation(open)
  }
}

/** Tables whose owner is subject to policies, unless our role is above them. */
async function readForcedTables(session: Connection): Promise<Set<string>> {
  const { rows } = await session.query<{ name: string }>(
    `select n.nspname || '.' || c.relname as name
       from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
      where c.relforcerowsecurity
        and not exists (
              select from pg_catalog.pg_roles where rolname = current_user and (rolbypassrls or rolsuper))`,
  )
  return new Set(rows.map(({ name }) => name))
}

async function readRelationBytes(session: Connection): Promise<Map<string, number>> {
  const { rows } = await session.query<{ name: string; bytes: string }>(
    `select n.nspname || '.' || c.relname as name, coalesce(pg_table_size(c.oid), 0) as bytes
       from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
      where c.relkind in ('r', 'm', 'p') and n.nspname !~ '^pg_'`,
  )
  return new Map(rows.map(({ name, bytes }) => [name, Number(bytes)]))
}

export function postDataRules(roles: TargetRoles): StatementRules {
  return {
    skip: (statement) => skipReason(statement, roles),
    isTolerable: ({ kind }) => /^(OWNER OF|COMMENT ON|SECURITY LABEL ON|ACL ON) |^(DEFAULT ACL|ANALYZE)$/.test(kind),
    secondTry: withRightOnSchema,
  }
}

function postDataResult(statements: PlannedStatement[]): PostDataResult {
  return {
    applied: statements.filter(({ state, kind }) => state === 'done' && kind !== ANALYZE).length,
    failed: statements
      .filter(({ state }) => state === 'failed')
      .map((statement) => ({ kind: statement.kind, object: objectTitle(statement), message: statement.message ?? '' })),
    warnings: schemaWarnings(withoutFollowUps(statements).filter(({ state }) => state !== 'failed')),
  }
}
