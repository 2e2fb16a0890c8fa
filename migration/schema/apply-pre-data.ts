import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { checkFence, type Lease } from '../control/lease.ts'
import { MigrationError, sqlState } from '../errors.ts'
import { tableFilter } from '../model/table-filter.ts'
import { id } from '../sql.ts'
import { readDatabaseGrants } from './database-grants.ts'
import { dumpSchema } from './dump.ts'
import { isExpected, skipLeftOut } from './left-out.ts'
import { obstacleWarnings, readTargetRoles, roleObstacle, rolesOf, type TargetRoles } from './roles.ts'
import { runStatements, type StatementRules } from './run-statements.ts'
import { openSchemaSessions, throwIfLost } from './schema-session.ts'
import { splitDump, type SchemaStatement } from './split.ts'
import { objectTitle, readStatements, storeStatements, type PlannedStatement } from './statements.ts'

export interface PreDataResult {
  /** Statements that are done. */
  statements: number
  failed: number
  warnings: string[]
}

/** Enough to make round trips cheap; a crash repeats no more than this. */
const BATCH = 200

/**
 * Makes everything on the target that stands before the data: schemas, types, functions, tables, views, grants.
 * What is done is recorded with the statement itself, so that it can be run again after a crash anywhere.
 *
 * @throws {MigrationError} SchemaFailed when a table, or what tables need, could not be made; SchemaDumpFailed; Busy
 */
export async function applyPreData(context: DatabaseContext): Promise<PreDataResult> {
  await using sessions = await openSchemaSessions(context)
  const session = await sessions.open()
  await planPreData(context, session, sessions.lease)
  const roles = await readTargetRoles(session)
  const rules = preDataRules(roles)
  // What failed before may have been mended on the target (an extension was allowed, a role made).
  const all = await readStatements(session, 'pre-data')
  const open = all.filter(({ state }) => state === 'pending' || state === 'failed')
  for (let first = 0; first < open.length; first += BATCH) {
    throwIfLost(sessions.lease)
    if (context.draining.aborted) {
      throw new MigrationError('Draining', 'The host is about to stop; the schema goes on later.', { retryable: true })
    }
    await runStatements(session, sessions.lease, 'pre-data', open.slice(first, first + BATCH), rules)
  }
  return preDataResult(await readStatements(session, 'pre-data'))
}

async function planPreData(context: DatabaseContext, session: Connection, lease: Lease): Promise<void> {
  if ((await readStatements(session, 'pre-data')).length > 0) return
  const statements = await splitDump(await dumpSchema(context, 'pre-data', { signal: lease.lost }))
  await using source = await context.source('schema')
  const planned = [
    ...skipLeftOut(schemaGrantsFirst(statements), tableFilter(context.record.properties.pgflex)),
    // Last: until then the database is open to the migrating role in every way.
    ...(await readDatabaseGrants(source)),
  ]
  await session.query('begin')
  await storeStatements(session, 'pre-data', planned)
  await checkFence(session, lease)
  await session.query('commit')
}

/**
 * Puts the grants on schemas in front of what is made in them: an owner needs CREATE on the schema to be given
 * a table there, and has it on `public` by such a grant only, from PostgreSQL 15 on. A schema that takes rights
 * from a role keeps them to the end, as we might need these rights.
 */
export function schemaGrantsFirst(statements: SchemaStatement[]): SchemaStatement[] {
  const grants = statements.filter(({ kind }) => kind === 'ACL ON SCHEMA')
  const restrictive = new Set(
    grants.filter(({ sql }) => sql.startsWith('REVOKE') && rolesOf(sql).length > 0).map(({ objectName }) => objectName),
  )
  const early = new Set(grants.filter(({ objectName }) => !restrictive.has(objectName)))
  const rest = statements.filter((statement) => !early.has(statement))
  const after = rest.findLastIndex(({ kind }) => /(^| )SCHEMA$/.test(kind) && !kind.startsWith('ACL')) + 1
  return [...rest.slice(0, after), ...early, ...rest.slice(after)]
}

function preDataRules(roles: TargetRoles): StatementRules {
  return {
    skip: (statement) => skipReason(statement, roles),
    isTolerable: ({ kind, objectName }, error) =>
      /^(OWNER OF|COMMENT ON|SECURITY LABEL ON|ACL ON) |^DEFAULT ACL$/.test(kind) ||
      (kind === 'SCHEMA' && objectName === 'public' && sqlState(error) === '42P06'), // duplicate_schema
    secondTry: (statement, error) => withRightOnSchema(statement, error),
  }
}

/** Why a statement is not run; also the rules for owners and grants of post-data objects. */
export function skipReason({ kind, objectName, sql }: SchemaStatement, roles: TargetRoles): string | undefined {
  if (kind === 'OWNER OF SCHEMA' && objectName === 'public') return PUBLIC_OWNER
  return roleObstacle(kind, sql, roles)
}

/** A new database's `public` belongs to its owner (pg_database_owner) from PostgreSQL 14 on: no need to tell anybody. */
const PUBLIC_OWNER = 'schema public stays with the owner of the database'

/** The new owner of an object needs CREATE on its schema, at this moment only. */
export function withRightOnSchema({ kind, schemaName, sql }: SchemaStatement, error: unknown): string | undefined {
  if (!kind.startsWith('OWNER OF ') || schemaName === null) return undefined
  if (sqlState(error) !== '42501' || !/for schema/.test((error as Error).message)) return undefined
  const owner = rolesOf(sql)[0]
  if (owner === undefined) return undefined
  return `grant create on schema ${id(schemaName)} to ${id(owner)};
          ${sql};
          revoke create on schema ${id(schemaName)} from ${id(owner)}`
}

/** Kinds without which a database is of use: the rest of it is there, and the user is told. */
const NOT_FOR_TABLES =
  /^(VIEW|MATERIALIZED VIEW|FUNCTION|PROCEDURE|AGGREGATE|OPERATOR|CAST|TRANSFORM|CONVERSION|ACCESS METHOD|ROW SECURITY)\b|TEXT SEARCH|^OPTION OF|LANGUAGE|FOREIGN|SERVER|USER MAPPING/

function preDataResult(statements: PlannedStatement[]): PreDataResult {
  const failed = statements.filter(({ state }) => state === 'failed')
  const grave = failed.filter(({ kind }) => !NOT_FOR_TABLES.test(kind))
  if (grave.length > 0) {
    throw new MigrationError(
      'SchemaFailed',
      `The schema could not be made on the target: ${grave.slice(0, 5).map(failure).join('; ')}${grave.length > 5 ? `; and ${grave.length - 5} more` : ''}.`,
      { target: 'target', hint: hintFor(grave[0]!) },
    )
  }
  return {
    statements: statements.filter(({ state }) => state === 'done').length,
    failed: failed.length,
    warnings: schemaWarnings(statements),
  }
}

/** What the user has to know of statements that failed, were skipped, or drew a warning. */
export function schemaWarnings(statements: PlannedStatement[]): string[] {
  const told = withoutFollowUps(statements).filter(
    (statement) => statement.message !== null && statement.message !== PUBLIC_OWNER && !isExpected(statement),
  )
  const ofRoles = told.filter(({ kind, state }) => state === 'skipped' && /^(OWNER OF|ACL ON|DEFAULT ACL)/.test(kind))
  const others = told.filter((statement) => !ofRoles.includes(statement))
  return [...obstacleWarnings(ofRoles as (PlannedStatement & { message: string })[]), ...others.map(failure)]
}

/**
 * Leaves out the owners, comments and grants of objects that could not be made: no news beside the object itself.
 * A name may be that of several objects (functions): then all of them have to have failed.
 */
export function withoutFollowUps(statements: PlannedStatement[]): PlannedStatement[] {
  const prefix = /^(?:OWNER OF|COMMENT ON|ACL ON|SECURITY LABEL ON) /
  const keyOf = ({ kind, schemaName, objectName }: PlannedStatement): string =>
    JSON.stringify([kind.replace(prefix, '').replace('PROCEDURAL ', ''), schemaName, objectName])
  const makers = statements.filter(({ kind }) => !prefix.test(kind))
  const made = new Set(makers.filter(({ state }) => state !== 'failed').map(keyOf))
  const failed = new Set(makers.filter((maker) => maker.state === 'failed' && !made.has(keyOf(maker))).map(keyOf))
  return statements.filter(
    (statement) => !(statement.state === 'skipped' && prefix.test(statement.kind) && failed.has(keyOf(statement))),
  )
}

function failure(statement: PlannedStatement): string {
  return `${objectTitle(statement)}: ${statement.message}`
}

function hintFor({ kind, objectName }: PlannedStatement): string {
  return kind === 'EXTENSION'
    ? `Allow the extension on the target (server parameter azure.extensions, and shared_preload_libraries where it needs that), or drop it on the source: drop extension ${id(objectName ?? '')}.`
    : 'Mend the cause on the source or the target, and start the migration of this database again.'
}
