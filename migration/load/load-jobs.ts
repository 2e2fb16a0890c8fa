import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { markStepDone } from '../control/control-schema.ts'

export interface CopyJobsInput {
  /** `copyJobs` of the user. */
  requested?: number
  /** CPUs of the source, where they are known. */
  sourceCores?: number
  /** max_worker_processes, the smaller one of the two servers: the only trace of their size that they show. */
  workerProcesses?: number
  targetMaxConnections: number
  sourceMaxConnections?: number
  /** Replication slots that nobody uses; undefined when the load needs none (Offline). */
  freeSlots?: number
  /** Batches, or tables (Offline), that are still to be copied; each range of a large table counts for itself. */
  batches: number
}

/** Four streams fill a target of moderate size; its CPU and disk are the limit, not the relay. */
export const DEFAULT_COPY_JOBS = 4
/**
 * Services raise max_worker_processes with the size of the server (RDS: twice its CPUs); PostgreSQL's own default of
 * 8 gives {@link DEFAULT_COPY_JOBS}.
 * https://www.postgresql.org/docs/current/runtime-config-resource.html#GUC-MAX-WORKER-PROCESSES
 */
const WORKER_PROCESSES_PER_JOB = 2
/** Without the user's word: more readers than this would be felt by the application on the source. */
const MAX_DEFAULT_JOBS = 8
/** Connections to the target for each job: lease, control, writer, and the lease of a range. */
const CONNECTIONS_PER_JOB = 4
/** Connections to the source for each job: reader, and the walsender with the snapshot. */
const SOURCE_CONNECTIONS_PER_JOB = 2
/** A load takes at most half of a server's connections. */
const CONNECTION_SHARE = 0.5
/** Left for the application's own subscribers and for our slot of a second database. */
const SLOTS_KEPT_FREE = 2

/** How many batches (Online) or tables (Offline) are copied at a time: 1 or more, whatever the limits say. */
export function chooseCopyJobs(input: CopyJobsInput): number {
  const { requested, sourceCores, workerProcesses, targetMaxConnections, sourceMaxConnections, freeSlots } = input
  const size = sourceCores ?? (workerProcesses === undefined ? undefined : workerProcesses / WORKER_PROCESSES_PER_JOB)
  const wanted = requested ?? Math.min(Math.floor(size ?? DEFAULT_COPY_JOBS), MAX_DEFAULT_JOBS)
  const limits = [
    wanted,
    input.batches,
    Math.floor((targetMaxConnections * CONNECTION_SHARE) / CONNECTIONS_PER_JOB),
    Math.floor(((sourceMaxConnections ?? Infinity) * CONNECTION_SHARE) / SOURCE_CONNECTIONS_PER_JOB),
    freeSlots === undefined ? Infinity : freeSlots - SLOTS_KEPT_FREE,
  ]
  return Math.max(1, Math.min(...limits))
}

/**
 * How many copyTables activities should run at a time: 1 for Offline, whose single activity copies everything
 * under one snapshot over several connections ({@link offlineStreams}).
 */
export async function loadWidth(context: DatabaseContext): Promise<number> {
  if (context.record.properties.migrationMode === 'Offline') return 1
  await using source = await context.source('load width')
  // Each copied batch needs a slot and a walsender for it.
  const { rows } = await source.query<{ free: string }>(
    `select least(
              current_setting('max_replication_slots')::int - (select count(*) from pg_replication_slots),
              current_setting('max_wal_senders')::int - (select count(*) from pg_stat_replication)) as free`,
  )
  return chooseCopyJobs({ ...(await loadLimits(context, source)), freeSlots: Number(rows[0]!.free) })
}

/** Streams of the single activity of an Offline load. */
export async function offlineStreams(context: DatabaseContext): Promise<number> {
  await using source = await context.source('load width')
  const { tables, ...limits } = await loadLimits(context, source)
  return chooseCopyJobs({ ...limits, batches: tables })
}

async function loadLimits(context: DatabaseContext, source: Connection): Promise<CopyJobsInput & { tables: number }> {
  await using target = await context.target('load width')
  const settings = `select current_setting('max_connections') as connections,
                           current_setting('max_worker_processes') as workers`
  const sourceSettings = await source.query<Record<'connections' | 'workers', string>>(settings)
  const targetSettings = await target.query<Record<'connections' | 'workers', string>>(settings)
  const { rows } = await target.query<{ batches: string; tables: string }>(
    `select count(distinct batch) + coalesce(sum(ranges - 1), 0) as batches, coalesce(sum(ranges), 0) as tables
       from pgflex.table_copy
      where state in ('queued', 'loading')`,
  )
  return {
    requested: context.record.properties.pgflex.copyJobs,
    sourceMaxConnections: Number(sourceSettings.rows[0]!.connections),
    targetMaxConnections: Number(targetSettings.rows[0]!.connections),
    workerProcesses: Math.min(Number(sourceSettings.rows[0]!.workers), Number(targetSettings.rows[0]!.workers)),
    batches: Number(rows[0]!.batches),
    tables: Number(rows[0]!.tables),
  }
}

const STEP = 'load-width'

/** Writes down how many activities the load was planned for; the first word counts. */
export async function storeLoadWidth(context: DatabaseContext, width: number): Promise<void> {
  await using target = await context.target('load width')
  await markStepDone(target, STEP, { width })
}

/** How many activities share the load. */
export async function readLoadWidth(target: Connection): Promise<number> {
  const { rows } = await target.query<{ width: string }>(
    `select detail ->> 'width' as width from pgflex.step where name = $1`,
    [STEP],
  )
  return Number(rows[0]?.width ?? 1)
}
