import type { DatabaseContext } from '../context.ts'

export interface CopyJobsInput {
  /** `copyJobs` of the user. */
  requested?: number
  /** CPUs of the source, where they are known. */
  sourceCores?: number
  targetMaxConnections: number
  /** Replication slots that nobody uses; undefined when the load needs none (Offline). */
  freeSlots?: number
  /** Batches, or tables (Offline), that are still to be copied. */
  batches: number
}

/** Four streams fill a target of moderate size; its CPU and disk are the limit, not the relay. */
export const DEFAULT_COPY_JOBS = 4
/** Without the user's word: more readers than this would be felt by the application on the source. */
const MAX_DEFAULT_JOBS = 8
/** Connections to the target for each job: lease, control, writer. */
const CONNECTIONS_PER_JOB = 3
/** A load takes at most half of the target's connections. */
const CONNECTION_SHARE = 0.5
/** Left for the application's own subscribers and for our slot of a second database. */
const SLOTS_KEPT_FREE = 2

/** How many batches (Online) or tables (Offline) are copied at a time: 1 or more, whatever the limits say. */
export function chooseCopyJobs(input: CopyJobsInput): number {
  const { requested, sourceCores, targetMaxConnections, freeSlots, batches } = input
  const wanted = requested ?? Math.min(sourceCores ?? DEFAULT_COPY_JOBS, MAX_DEFAULT_JOBS)
  const limits = [
    wanted,
    batches,
    Math.floor((targetMaxConnections * CONNECTION_SHARE) / CONNECTIONS_PER_JOB),
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
  return chooseCopyJobs({ ...(await targetLimits(context)), freeSlots: Number(rows[0]!.free) })
}

/** Streams of the single activity of an Offline load. */
export async function offlineStreams(context: DatabaseContext): Promise<number> {
  const { tables, ...limits } = await targetLimits(context)
  return chooseCopyJobs({ ...limits, batches: tables })
}

async function targetLimits(context: DatabaseContext): Promise<CopyJobsInput & { tables: number }> {
  await using target = await context.target('load width')
  const { rows } = await target.query<{ connections: string; batches: string; tables: string }>(
    `select current_setting('max_connections') as connections, count(distinct batch) as batches, count(*) as tables
       from pgflex.table_copy
      where state in ('queued', 'loading')`,
  )
  const { connections, batches, tables } = rows[0]!
  return {
    requested: context.record.properties.pgflex.copyJobs,
    targetMaxConnections: Number(connections),
    batches: Number(batches),
    tables: Number(tables),
  }
}
