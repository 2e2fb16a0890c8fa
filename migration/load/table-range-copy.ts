import type { Connection } from '../connect.ts'
import { checkFence, leaseLost, type Lease } from '../control/lease.ts'
import { MigrationError } from '../errors.ts'
import { id } from '../sql.ts'
import type { Snapshot } from './slot-snapshot.ts'
import { FENCED } from './table-copy.ts'
import type { RangeMethod, TableRange } from './table-range.ts'
import type { TableName } from './tables.ts'

type Fence = Pick<Lease, 'name' | 'fence'>

/** A range that is to be copied, as whoever has begun the table has written it down. */
export interface OpenRange extends TableRange, TableName {
  id: string
  method: RangeMethod
  snapshot: string
  /** Of whoever has begun the table. */
  owner: Fence
}

/**
 * Begins the copy of a table by ranges: empties it, and writes down its ranges, in one transaction. From here on
 * anybody may copy a range, under the snapshot that the holder of the lease keeps open.
 *
 * @throws {MigrationError} LeaseLost
 */
export async function openRanges(
  writer: Connection,
  lease: Fence,
  { schema, name }: TableName,
  { snapshot, method, ranges }: { snapshot: Snapshot; method: RangeMethod; ranges: TableRange[] },
): Promise<void> {
  // Truncating waits for the ranges of a copy before that are still under way; they commit, and are gone, or fail.
  await writer.query(`begin; truncate only ${id(schema, name)}`)
  await writer.query('delete from pgflex.table_range where schema_name = $1 and table_name = $2', [schema, name])
  await writer.query(
    `insert into pgflex.table_range (schema_name, table_name, method, lower, upper, snapshot, snapshot_lsn, lease, fence)
     select $1, $2, $3, lower, upper, $6, $7, $8, $9 from unnest($4::int8[], $5::int8[]) as r (lower, upper)`,
    [
      schema,
      name,
      method,
      ranges.map(({ lower }) => lower),
      ranges.map(({ upper }) => upper),
      snapshot.name,
      snapshot.lsn ?? null,
      lease.name,
      lease.fence,
    ],
  )
  await writer.query(
    `update pgflex.table_copy set started_at = clock_timestamp() where schema_name = $1 and table_name = $2`,
    [schema, name],
  )
  await checkFence(writer, lease)
  await writer.query('commit')
}

/** True when the table was begun under this snapshot and lease: a copy that was interrupted goes on with its ranges. */
export async function isBegunUnder(
  target: Connection,
  { name: lease, fence }: Fence,
  { schema, name }: TableName,
  snapshot: Snapshot,
): Promise<boolean> {
  const { rows } = await target.query(
    `select from pgflex.table_range
      where schema_name = $1 and table_name = $2 and lease = $3 and fence = $4 and snapshot = $5
      limit 1`,
    [schema, name, lease, fence, snapshot.name],
  )
  return rows.length > 0
}

/** Ranges that are not done, of one table or of all that are being loaded, biggest table first. */
export async function openRangesOf(target: Connection, table?: TableName): Promise<OpenRange[]> {
  const { rows } = await target.query<Record<string, string> & TableRange>(
    `select r.id, r.schema_name as schema, r.table_name as name, r.method, r.lower, r.upper, r.snapshot, r.lease, r.fence
       from pgflex.table_range r
       join pgflex.table_copy c using (schema_name, table_name)
      where not r.done and c.state = 'loading'
        and ($1::text is null or (r.schema_name, r.table_name) = ($1, $2))
      order by c.batch, r.id`,
    [table?.schema ?? null, table?.name ?? null],
  )
  return rows.map(
    ({ lease, fence, ...range }) => ({ ...range, owner: { name: lease!, fence: fence! } }) as unknown as OpenRange,
  )
}

/** True while the range is still wanted: somebody may have copied it, or begun the table anew, since it was read. */
export async function isRangeOpen(target: Connection, { id: range }: OpenRange): Promise<boolean> {
  const { rows } = await target.query('select from pgflex.table_range where id = $1 and not done', [range])
  return rows.length > 0
}

/**
 * Marks a range as done, in the transaction that has copied it: the mark is there if and only if the rows are. A
 * copy of the same range whose commit was lost on the way holds the row; this one then waits for it, and fails.
 *
 * @throws {MigrationError} RangeTaken (retryable), LeaseLost
 */
export async function markRangeDone(
  writer: Connection,
  { id: range, owner }: OpenRange,
  { rows, bytes }: { rows: number; bytes: number },
): Promise<void> {
  await checkFence(writer, owner)
  const { rowCount } = await writer.query(
    `update pgflex.table_range
        set done = true, done_by = current_setting('application_name'), rows_done = $2, bytes_done = $3
      where id = $1 and not done`,
    [range, rows, bytes],
  )
  if (rowCount === 1) return
  throw new MigrationError('RangeTaken', 'Another copy of this range is in the table, or its copy has begun anew.', {
    retryable: true,
  })
}

/**
 * Marks a table as completed when all its ranges are done. Whoever was to do this may have died: all ranges were read
 * under one snapshot, so the table is whole, whoever says so.
 */
export async function completeRanges(target: Connection, lease: Fence, { schema, name }: TableName): Promise<boolean> {
  const { rowCount } = await target.query(
    `${FENCED}
     update pgflex.table_copy t
        set state = 'completed', snapshot_lsn = r.lsn, rows_done = r.rows, bytes_done = r.bytes,
            ended_at = clock_timestamp(), message = null
       from (select max(snapshot_lsn) as lsn, sum(rows_done) as rows, sum(bytes_done) as bytes
               from pgflex.table_range
              where schema_name = $3 and table_name = $4
             having bool_and(done)) as r
      where t.schema_name = $3 and t.table_name = $4 and t.state <> 'completed' and exists (select from held)`,
    [lease.name, lease.fence, schema, name],
  )
  if (rowCount === 1) return true
  const { rows } = await target.query<{ state: string; held: string }>(
    `select t.state, exists (select from pgflex.lease where name = $3 and fence = $4) as held
       from pgflex.table_copy t
      where t.schema_name = $1 and t.table_name = $2`,
    [schema, name, lease.name, lease.fence],
  )
  if (rows[0]?.held === 'f') throw leaseLost(lease.name)
  return rows[0]?.state === 'completed'
}

/** True while there are tables that somebody copies, or will copy, by ranges: others may help. */
export async function isAnythingCutIntoRanges(target: Connection, except: readonly TableName[]): Promise<boolean> {
  const { rows } = await target.query(
    `select from pgflex.table_copy
      where ranges > 1 and state in ('queued', 'loading')
        and (schema_name, table_name) not in (select * from unnest($1::text[], $2::text[]))
      limit 1`,
    [except.map(({ schema }) => schema), except.map(({ name }) => name)],
  )
  return rows.length > 0
}
