import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { planPostData, postDataRules } from './apply-post-data.ts'
import { relationName } from './left-out.ts'
import { readDescendants } from './plan-analyze.ts'
import { ANALYZE, scheduleLoad } from './post-data-order.ts'
import { readTargetRoles } from './roles.ts'
import { openSchemaSessions } from './schema-session.ts'
import { runParallel } from './schema-workers.ts'
import { readStatements, type PlannedStatement } from './statements.ts'

/** ms; a copy activity that has died is followed by another one sooner, unless there is none any more. */
const NOBODY_COPIES_MS = 30_000

/**
 * Builds the indexes and exclusion constraints of tables as soon as these are copied, and collects their statistics,
 * while others are still being copied. A head start for {@link buildIndexes}, which does whatever this one leaves undone, for whatever reason.
 * Online only: a table that is copied stays so there. Offline the copy of one moment may have to begin anew.
 *
 * It ends when all that is copied has its indexes and nothing is being copied any more.
 *
 * @throws {MigrationError} SchemaDumpFailed, Busy, LeaseLost
 */
export async function startIndexes(context: DatabaseContext): Promise<object> {
  try {
    await planPostData(context)
    await using sessions = await openSchemaSessions(context)
    const session = await sessions.open()
    const rules = postDataRules(await readTargetRoles(session))
    // They are made with the ANALYZE of their table, which they do not name as the others do.
    const statistics = await readStatements(session, 'post-data', { pending: true, kind: 'STATISTICS' })
    const taken = new Set<number>()
    // ANALYZE of these reads what is below them, too, which may not be in yet: they wait for buildIndexes.
    const parents = await readDescendants(session)
    let copiedAt = Date.now()
    await runParallel(context, session, sessions, rules, async () => {
      const { isCopying, more } = await readCopies(session)
      if (isCopying) copiedAt = Date.now()
      const ready = (await readReady(session)).filter(
        ({ position, kind, schemaName, tableName }) =>
          !taken.has(position) && !(kind === ANALYZE && parents.has(relationName(schemaName ?? '', tableName ?? ''))),
      )
      for (const { position } of ready) taken.add(position)
      // Sizes of the source: to measure a table here would wait for the lock of its copy.
      const bytes = new Map(
        ready.map((statement) => [
          relationName(statement.schemaName ?? '', statement.tableName ?? ''),
          Number(statement.bytes),
        ]),
      )
      return {
        transactions: scheduleLoad([...statistics, ...ready], { bytes, descendants: new Map() }).parallel,
        more: more && Date.now() - copiedAt < NOBODY_COPIES_MS,
      }
    })
  } catch (error) {
    // The sessions are ended when the host stops.
    if (!context.draining.aborted) throw error
  }
  return {}
}

/** What reads a table that is copied; see scheduleLoad in post-data-order.ts. All of a table comes at once. */
async function readReady(session: Connection): Promise<(PlannedStatement & { bytes: string })[]> {
  const { rows } = await session.query<Record<string, string>>(
    `select s.position, s.kind, s.schema_name as "schemaName", s.object_name as "objectName",
            s.table_name as "tableName", s.sql, s.state, s.message, t.bytes_total as bytes
       from pgflex.statement  as s
       join pgflex.table_copy as t on t.schema_name = s.schema_name and t.table_name = s.table_name
      where s.section = 'post-data' and s.state = 'pending' and t.state = 'completed'
        and (s.kind in ('INDEX', 'ANALYZE') or s.kind = 'CONSTRAINT' and s.sql !~* ' using index ')
      order by s.position`,
  )
  return rows.map((row) => ({ ...row, position: Number(row['position']) }) as PlannedStatement & { bytes: string })
}

/**
 * @returns isCopying: somebody holds the lease of a batch; more: tables wait or are being copied, and none was given
 *   up, so that the load can still succeed
 */
async function readCopies(session: Connection): Promise<{ isCopying: boolean; more: boolean }> {
  const { rows } = await session.query<Record<'copying' | 'more', string>>(
    `select exists (
              select from pgflex.lease
               where name like 'copy-batch-%' and expires_at > clock_timestamp()) as copying,
            exists (select from pgflex.table_copy where state in ('queued', 'loading'))
              and not exists (select from pgflex.table_copy where state = 'errored') as more`,
  )
  return { isCopying: rows[0]!.copying === 't', more: rows[0]!.more === 't' }
}
