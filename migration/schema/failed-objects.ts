import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { checkFence } from '../control/lease.ts'
import { MigrationError } from '../errors.ts'
import { applyPostData } from './apply-post-data.ts'
import { readDescendants } from './plan-analyze.ts'
import { ANALYZE, stageOf } from './post-data-order.ts'
import { failureWarning } from './report-post-data.ts'
import { openSchemaSessions } from './schema-session.ts'
import { objectTitle, readStatements, recordOutcomes, type PlannedStatement } from './statements.ts'
import { statisticsTable } from './statistics-object.ts'

const BY_HAND = 'made by hand on the target'

/**
 * Tries again what could not be built after the load, and refuses to go on without it, unless the user asked for
 * the cutover with force. What is on the target by now under its name counts. Idempotent.
 *
 * @throws {MigrationError} ObjectsFailed
 */
export async function refuseFailedObjects(context: DatabaseContext): Promise<{ mended: number }> {
  const failed = await reopenFailed(context)
  if (failed.length === 0) return { mended: 0 }
  const remaining = (await applyPostData(context, 'load')).failed
  // A host that stops leaves some of them untried, and none of these is told as failed.
  context.draining.throwIfAborted()
  const mended = failed.map(objectTitle).filter((title) => !remaining.some(({ object }) => object === title))
  const obsolete = mended.map((title) => failureWarning({ object: title, message: '' }))
  await context.status((status) => ({
    ...status,
    warnings: status.warnings.filter((warning) => !obsolete.some((start) => warning.startsWith(start))),
  }))
  if (remaining.length === 0) return { mended: mended.length }
  const list = remaining.map(({ object, message }) => `${object}: ${message}`).join('; ')
  if (context.record.requests.cutover[context.database]?.force !== true) {
    throw new MigrationError('ObjectsFailed', `These objects could not be built on the target: ${list}.`, {
      target: 'target',
      hint: 'Mend the cause on the target, or make them there by hand, and cut over again; or cut over with force (properties.pgflex.force, --force) to go on without them.',
    })
  }
  await context.event({
    level: 'warning',
    event: 'CutoverWithoutObjects',
    message: `Cut over by force without: ${list}.`,
  })
  return { mended: mended.length }
}

/** @returns what had failed; each of it is pending again, or done when it is there */
async function reopenFailed(context: DatabaseContext): Promise<PlannedStatement[]> {
  await using sessions = await openSchemaSessions(context)
  const session = await sessions.open()
  const planned = await readStatements(session, 'post-data')
  // Pending: an earlier attempt died before it had tried all of them.
  const failed = planned.filter(
    ({ kind, state }) => stageOf(kind) === 'load' && kind !== ANALYZE && (state === 'failed' || state === 'pending'),
  )
  if (failed.length === 0) return []
  const there = await readPresent(session)
  await session.query('begin')
  const again = [...failed, ...statisticsOf(failed, planned, await readDescendants(session))]
  await recordOutcomes(
    session,
    'post-data',
    again.map((statement) =>
      there.has(keyOf(statement))
        ? { position: statement.position, state: 'done', message: BY_HAND }
        : { position: statement.position, state: 'pending', message: null },
    ),
  )
  await checkFence(session, sessions.lease)
  await session.query('commit')
  return failed
}

/** An index on an expression, and extended statistics, are of use when their table is analyzed after them. */
function statisticsOf(
  failed: PlannedStatement[],
  planned: PlannedStatement[],
  descendants: Map<string, string[]>,
): PlannedStatement[] {
  const tables = new Set(
    failed.map((statement) => statisticsTable(statement) ?? `${statement.schemaName}.${statement.tableName}`),
  )
  return planned.filter(({ kind, schemaName, tableName }) => {
    const name = `${schemaName}.${tableName}`
    return kind === ANALYZE && [name, ...(descendants.get(name) ?? [])].some((table) => tables.has(table))
  })
}

function keyOf({ kind, schemaName, tableName, objectName }: PlannedStatement): string {
  return JSON.stringify([kind.replace('CHECK CONSTRAINT', 'CONSTRAINT'), schemaName, tableName, objectName])
}

/** The indexes, constraints, views and statistics objects of the target that are ready for use. */
async function readPresent(session: Connection): Promise<Set<string>> {
  const { rows } = await session.query<Record<'kind' | 'schemaName' | 'tableName' | 'objectName', string>>(
    `select 'INDEX' as kind, n.nspname as "schemaName", t.relname as "tableName", c.relname as "objectName"
       from pg_catalog.pg_index     as i
       join pg_catalog.pg_class     as c on c.oid = i.indexrelid
       join pg_catalog.pg_class     as t on t.oid = i.indrelid
       join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
      where i.indisvalid
      union all
     select 'CONSTRAINT', n.nspname, t.relname, o.conname
       from pg_catalog.pg_constraint as o
       join pg_catalog.pg_class      as t on t.oid = o.conrelid
       join pg_catalog.pg_namespace  as n on n.oid = t.relnamespace
      union all
     select case relkind when 'v' then 'VIEW' else 'MATERIALIZED VIEW' end, n.nspname, null, c.relname
       from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
      where c.relkind in ('v', 'm')
      union all
     select 'STATISTICS', n.nspname, null, s.stxname
       from pg_catalog.pg_statistic_ext as s join pg_catalog.pg_namespace as n on n.oid = s.stxnamespace`,
  )
  return new Set(rows.map((row) => JSON.stringify([row.kind, row.schemaName, row.tableName, row.objectName])))
}
