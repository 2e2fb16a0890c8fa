import type { Connection } from '../connect.ts'
import type { Lease } from '../control/lease.ts'
import { leaseLost } from '../control/lease.ts'
import type { TableName } from './tables.ts'

type Fence = Pick<Lease, 'name' | 'fence'>

/** A statement that is its own transaction and changes pgflex.table_copy only while the lease is ours. */
export const FENCED = `with held as materialized (select from pgflex.lease where name = $1 and fence = $2 for share)`

/** Batches with tables that are neither completed nor given up, biggest first. */
export async function openBatches(target: Connection): Promise<number[]> {
  const { rows } = await target.query<{ batch: string }>(
    `select distinct batch from pgflex.table_copy where state in ('queued', 'loading') order by batch`,
  )
  return rows.map(({ batch }) => Number(batch))
}

/** A table of the plan. */
export interface OpenTable extends TableName {
  /** In how many ranges it is copied; 1: as a whole. */
  ranges: number
  /** Of the source's disk. */
  bytes: number
}

/** Tables that are neither completed nor given up, biggest first. */
export async function openTables(target: Connection, batch?: number): Promise<OpenTable[]> {
  const { rows } = await target.query<Record<keyof OpenTable, string>>(
    `select schema_name as schema, table_name as name, ranges, bytes_total as bytes
       from pgflex.table_copy
      where state in ('queued', 'loading') and ($1::int is null or batch = $1)
      order by batch, bytes_total desc, schema_name, table_name`,
    [batch ?? null],
  )
  return rows.map((row) => ({ ...row, ranges: Number(row.ranges), bytes: Number(row.bytes) }))
}

/**
 * Marks a table as being copied.
 *
 * @returns false when it is completed already: the answer to the commit was lost, not the commit
 * @throws {MigrationError} LeaseLost
 */
export async function markLoading(target: Connection, lease: Fence, { schema, name }: TableName): Promise<boolean> {
  const { rowCount } = await target.query(
    `${FENCED}
     update pgflex.table_copy
        set state = 'loading', ended_at = null, rows_done = 0, bytes_done = 0,
            -- A copy by ranges goes on where it was; openRanges says when it begins.
            started_at = case when ranges > 1 then coalesce(started_at, clock_timestamp()) else clock_timestamp() end
      where schema_name = $3 and table_name = $4 and state <> 'completed' and exists (select from held)`,
    [lease.name, lease.fence, schema, name],
  )
  if (rowCount === 1) return true
  const { rows } = await target.query('select from pgflex.lease where name = $1 and fence = $2', [
    lease.name,
    lease.fence,
  ])
  if (rows.length !== 1) throw leaseLost(lease.name)
  return false
}

/** Puts a table that was interrupted back; it says why while it waits. */
export async function markQueued(
  target: Connection,
  lease: Fence,
  { schema, name }: TableName,
  message: string | undefined,
): Promise<void> {
  await target.query(
    `${FENCED}
     update pgflex.table_copy set state = 'queued', rows_done = 0, bytes_done = 0, message = $5
      where schema_name = $3 and table_name = $4 and state = 'loading' and exists (select from held)`,
    [lease.name, lease.fence, schema, name, message ?? null],
  )
}

/** Gives a table up, with the reason in words. */
export async function markErrored(
  target: Connection,
  lease: Fence,
  { schema, name }: TableName,
  message: string,
): Promise<void> {
  await target.query(
    `${FENCED}
     update pgflex.table_copy set state = 'errored', ended_at = clock_timestamp(), message = $5
      where schema_name = $3 and table_name = $4 and state <> 'completed' and exists (select from held)`,
    [lease.name, lease.fence, schema, name, message],
  )
}

/** Strikes a table out of the plan, unless it is completed. */
export async function removeTable(target: Connection, lease: Fence, { schema, name }: TableName): Promise<void> {
  await target.query(
    `${FENCED}
     delete from pgflex.table_copy
      where schema_name = $3 and table_name = $4 and state <> 'completed' and exists (select from held)`,
    [lease.name, lease.fence, schema, name],
  )
}

/** Puts every table back to the start: a load that has to be of one moment begins anew. */
export async function requeueAll(target: Connection, lease: Fence): Promise<void> {
  // Ranges of another moment count no more.
  await target.query(`${FENCED} delete from pgflex.table_range where exists (select from held)`, [
    lease.name,
    lease.fence,
  ])
  await target.query(
    `${FENCED}
     update pgflex.table_copy
        set state = 'queued', snapshot_lsn = null, rows_done = 0, bytes_done = 0, started_at = null, ended_at = null,
            message = null
      where exists (select from held)`,
    [lease.name, lease.fence],
  )
}

/** How the load stands. */
export interface Outcome {
  /** Tables that are neither completed nor given up. */
  remaining: number
  errored: number
}

/**
 * Reads how the load stands, and makes what it has read survive a crash of the target.
 *
 * The writers run with synchronous_commit=off, which saves a flush for each of 10,000 small tables. A crash of the
 * target may then lose the last commits, but only the last ones in order, and each table's data together with its
 * mark: such a table is copied again under a new snapshot, with a later P. What must not happen is that the caller
 * remembers elsewhere that all is copied, does not come back, and the target then forgets it. WAL is flushed
 * in order, so one flushed commit after the reading makes all durable that was seen, whoever wrote it.
 * https://www.postgresql.org/docs/current/wal-async-commit.html
 */
export async function durableOutcome(target: Connection): Promise<Outcome> {
  const { rows } = await target.query<{ remaining: string; errored: string }>(
    `select count(*) filter (where state in ('queued', 'loading')) as remaining,
            count(*) filter (where state = 'errored')              as errored
       from pgflex.table_copy`,
  )
  await target.query('set synchronous_commit = on')
  // Only a transaction that writes is flushed at its commit.
  await target.query('update pgflex.migration set key = key')
  return { remaining: Number(rows[0]!.remaining), errored: Number(rows[0]!.errored) }
}
