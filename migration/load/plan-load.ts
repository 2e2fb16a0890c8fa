import { isStepDone, markStepDone } from '../control/control-schema.ts'
import type { DatabaseContext } from '../context.ts'
import { tableFilter } from '../model/table-filter.ts'
import { serverFacts } from './copy-format.ts'
import { DEFAULT_COPY_JOBS } from './load-jobs.ts'
import { writeLoadStatus } from './load-status.ts'
import { planBatches } from './plan-batches.ts'
import { rangeCount, rangeMethod } from './table-range.ts'
import { listForeignTables, listTables } from './tables.ts'

const STEP = 'plan-load'

export interface PlannedLoad {
  tables: number
  bytes: number
  batches: number
  /** Batches, with each range of a large table for itself: so many streams can be at work at most. */
  pieces: number
}

/**
 * Writes down in pgflex.table_copy which tables are copied and in which batches. A second run finds the plan and
 * keeps it: what is copied by then stays copied.
 */
export async function planLoad(context: DatabaseContext): Promise<PlannedLoad> {
  await using target = await context.target('plan load')
  if (!(await isStepDone(target, STEP))) await writePlan(context, target)
  await writeLoadStatus(context, target)
  const { rows } = await target.query<Record<keyof PlannedLoad, string>>(
    `select count(*) as tables, coalesce(sum(bytes_total), 0) as bytes, count(distinct batch) as batches,
            count(distinct batch) + coalesce(sum(ranges - 1), 0) as pieces
       from pgflex.table_copy`,
  )
  const { tables, bytes, batches, pieces } = rows[0]!
  return { tables: Number(tables), bytes: Number(bytes), batches: Number(batches), pieces: Number(pieces) }
}

async function writePlan(
  context: DatabaseContext,
  target: Awaited<ReturnType<DatabaseContext['target']>>,
): Promise<void> {
  const options = context.record.properties.pgflex
  const filter = tableFilter(options)
  await using source = await context.source('plan load')
  const tables = await listTables(source, filter)
  const foreign = await listForeignTables(source, filter)
  const { major } = await serverFacts(source)
  const jobs = options.copyJobs ?? DEFAULT_COPY_JOBS
  const planned = planBatches(tables, { jobs }).flatMap((batch, number) =>
    batch.map((table) => ({
      ...table,
      batch: number + 1,
      ranges: rangeMethod(table, major) === undefined ? 1 : rangeCount(table.bytes, jobs),
    })),
  )
  await target.query('begin')
  try {
    // Two copies of this activity may have seen different tables: the first one's plan counts, whole.
    await target.query(`select pg_advisory_xact_lock(hashtext('pgflex plan load'))`)
    if (!(await isStepDone(target, STEP))) {
      await target.query(
        `insert into pgflex.table_copy (schema_name, table_name, batch, rows_total, bytes_total, ranges)
         select * from unnest($1::text[], $2::text[], $3::int[], $4::int8[], $5::int8[], $6::int[])`,
        [
          planned.map(({ schema }) => schema),
          planned.map(({ name }) => name),
          planned.map(({ batch }) => batch),
          planned.map(({ rows }) => rows),
          planned.map(({ bytes }) => bytes),
          planned.map(({ ranges }) => ranges),
        ],
      )
      // It is asked for a few of ten thousand tables, again and again.
      await target.query('analyze pgflex.table_copy')
      await markStepDone(target, STEP, { tables: planned.length })
    }
    await target.query('commit')
  } catch (error) {
    await target.query('rollback').catch(() => {})
    throw error
  }
  if (foreign.length > 0)
    await warnOfForeignTables(
      context,
      foreign.map(({ schema, name }) => `${schema}.${name}`),
    )
}

/** Names in a warning; the rest is counted. The status document stays small. */
const NAMED = 10

async function warnOfForeignTables(context: DatabaseContext, names: string[]): Promise<void> {
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : ''
  const warning =
    `Foreign tables are moved without rows, which stay on their own server: ${names.slice(0, NAMED).join(', ')}${more}. ` +
    'Check that the target can reach that server.'
  await context.status((status) =>
    status.warnings.includes(warning) ? status : { ...status, warnings: [...status.warnings, warning] },
  )
}
