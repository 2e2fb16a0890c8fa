import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { readFreezeObstacles, readLongTransactions } from '../cutover/freeze-obstacles.ts'
import type { CutoverFacts, NamedObjects } from '../model/status.ts'
import { findSequences } from '../schema/owned-sequences.ts'
import { stageOf } from '../schema/post-data-order.ts'
import type { SchemaStatement } from '../schema/split.ts'
import { objectTitle } from '../schema/statements.ts'
import { IS_IDENTIFIED } from './publication.ts'
import { sourceObjects } from './slot-name.ts'
import type { UnfollowedTables } from './unfollowed-tables.ts'

/** Names of each kind in the status document; the rest are counted. */
const NAMED = 5

/**
 * Looks at what a cutover needs besides copied tables and a small latency: a few queries of the catalogs, no locks on
 * tables. What must hold is decided elsewhere, by model/cutover-readiness.ts.
 */
export async function readCutoverFacts(
  context: DatabaseContext,
  source: Connection,
  target: Connection,
  unfollowed: UnfollowedTables,
): Promise<CutoverFacts> {
  const objects = await readObjects(target)
  const { sequences, missing } = await findSequences(context, source, target)
  return {
    at: new Date().toISOString(),
    failedObjects: objects.failed,
    pendingObjects: objects.pending,
    unfollowed: named(unfollowed.added),
    withoutIdentity: named(await readWithoutIdentity(context, source)),
    sequences,
    missingSequences: named(missing.map(({ schema, name }) => `${schema}.${name}`)),
    freezeObstacles: named(await readFreezeObstacles(source)),
    longTransactions: named(await readLongTransactions(source)),
  }
}

function named(names: string[]): NamedObjects {
  return { count: names.length, names: names.slice(0, NAMED) }
}

/** Indexes, constraints and their like that belong to the load: those of the cutover have to wait for it. */
async function readObjects(target: Connection): Promise<Record<'failed' | 'pending', NamedObjects>> {
  const { rows } = await target.query<{ kind: string; state: 'failed' | 'pending'; count: string; first: string }>(
    `select kind, state, count(*) as count,
            to_json((array_agg(json_build_object('kind', kind, 'schemaName', schema_name,
                                                 'objectName', object_name, 'tableName', table_name)
                               order by position))[1:$1]) as first
       from pgflex.statement
      where section = 'post-data' and state in ('failed', 'pending')
      group by kind, state
      order by kind`,
    [NAMED],
  )
  const of = (state: 'failed' | 'pending'): NamedObjects => {
    const groups = rows.filter((row) => row.state === state && stageOf(row.kind) === 'load')
    const titles = groups.flatMap(({ first }) => (JSON.parse(first) as SchemaStatement[]).map(objectTitle))
    return { count: groups.reduce((sum, { count }) => sum + Number(count), 0), names: titles.slice(0, NAMED) }
  }
  return { failed: of('failed'), pending: of('pending') }
}

/** Tables of which inserts alone are published, and still have nothing to identify a row with. */
async function readWithoutIdentity(context: DatabaseContext, source: Connection): Promise<string[]> {
  const { insertsPublication } = sourceObjects(context.key, context.database)
  const { rows } = await source.query<{ title: string }>(
    `select n.nspname || '.' || c.relname as title
       from pg_publication     as p
       join pg_publication_rel as r on r.prpubid = p.oid
       join pg_class           as c on c.oid = r.prrelid
       join pg_namespace       as n on n.oid = c.relnamespace
      where p.pubname = $1 and not ${IS_IDENTIFIED}
      order by 1`,
    [insertsPublication],
  )
  return rows.map(({ title }) => title)
}
