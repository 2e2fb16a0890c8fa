import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'

/** How many indexes are built at a time, and with how much memory each, kB. */
export interface IndexWidth {
  jobs: number
  maintenanceWorkMemKb: number
}

/** The server's own workers help each of them (max_parallel_maintenance_workers, 2 by default). */
const DEFAULT_JOBS = 4
/** An index build sorts in memory only up to its own limit of work: more than 2 GB each is for nothing. */
const MAX_MEMORY_KB = 2 * 1024 * 1024

export interface ServerLimits {
  freeConnections: number
  sharedBuffersKb: number
  maintenanceWorkMemKb: number
}

/**
 * How many indexes of one database are built at a time, and with how much memory each.
 *
 * shared_buffers stands for the size of the machine, a quarter of its memory on flexible server; as much again is
 * shared out among the jobs of all databases, unless the setting of the server is more already: nobody else works
 * on the target yet.
 * https://learn.microsoft.com/azure/postgresql/server-parameters/param-resource-usage-memory
 */
export function indexWidth(
  limits: ServerLimits,
  { indexJobs, databases }: { indexJobs: number | undefined; databases: number },
): IndexWidth {
  const most = Math.max(1, Math.floor(limits.freeConnections / 2))
  const jobs = Math.max(1, Math.min(indexJobs ?? DEFAULT_JOBS, most))
  const share = Math.floor(limits.sharedBuffersKb / (jobs * databases))
  return { jobs, maintenanceWorkMemKb: Math.max(limits.maintenanceWorkMemKb, Math.min(share, MAX_MEMORY_KB)) }
}

async function readServerLimits(target: Connection): Promise<ServerLimits> {
  const { rows } = await target.query<Record<'free' | 'buffers' | 'memory', string>>(
    `select current_setting('max_connections')::int - (select count(*) from pg_catalog.pg_stat_activity) as free,
            pg_size_bytes(current_setting('shared_buffers')) / 1024 as buffers,
            pg_size_bytes(current_setting('maintenance_work_mem')) / 1024 as memory`,
  )
  const { free, buffers, memory } = rows[0]!
  return { freeConnections: Number(free), sharedBuffersKb: Number(buffers), maintenanceWorkMemKb: Number(memory) }
}

/** The width for the database of this context, by the limits of its target. */
export async function readIndexWidth(
  { record: { properties } }: DatabaseContext,
  target: Connection,
): Promise<IndexWidth> {
  return indexWidth(await readServerLimits(target), {
    indexJobs: properties.pgflex.indexJobs,
    databases: properties.dbsToMigrate.length,
  })
}
