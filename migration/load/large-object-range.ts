import type { Connection } from '../connect.ts'
import { checkFence, type Lease } from '../control/lease.ts'

type Fence = Pick<Lease, 'name' | 'fence'>

/** Large objects whose oids are in (lower, upper]. */
export interface LargeObjectRange {
  lower: number
  upper: number
}

/** An oid has 32 bits. */
const MAX_OID = 2 ** 32 - 1
/**
 * A dozen round trips for each range are little then. More would be risky: dropping an object, or changing its owner,
 * rights or comment, locks it until the commit, and a server has room for 64 locks for each connection that it allows.
 * https://www.postgresql.org/docs/current/runtime-config-locks.html
 */
const RANGE_OBJECTS = 250

/** Oids at which the large objects can be cut into ranges. */
export async function readBounds(connection: Connection, objects = RANGE_OBJECTS): Promise<number[]> {
  const { rows } = await connection.query<{ upper: string }>(
    `select max(m.oid::int8) as upper
       from (select oid, (row_number() over (order by oid) - 1) / $1::int as number
               from pg_largeobject_metadata) as m
      group by m.number`,
    [objects],
  )
  return rows.map(({ upper }) => Number(upper))
}

/** All oids there can be, cut so that no range holds many objects of either side. */
export function rangesBetween(...bounds: number[][]): LargeObjectRange[] {
  const uppers = [...new Set(bounds.flat())].toSorted((a, b) => a - b)
  // The last range goes to the end: oids that are given out from now on.
  uppers.splice(Math.max(uppers.length - 1, 0), 1, MAX_OID)
  return uppers.map((upper, n) => ({ lower: uppers[n - 1] ?? 0, upper }))
}

/** Writes down the ranges of a pass over all large objects; one that has begun keeps its ranges. */
export async function storeRanges(
  target: Connection,
  leases: Fence[],
  pass: string,
  ranges: readonly LargeObjectRange[],
): Promise<void> {
  await target.query('begin')
  try {
    await target.query(INLET)
    const { rows } = await target.query('select from pgflex.large_object_range where pass = $1 limit 1', [pass])
    if (rows.length === 0) {
      await target.query('delete from pgflex.large_object_range')
      await target.query(
        `insert into pgflex.large_object_range (pass, lower, upper)
         select $1, * from unnest($2::int8[], $3::int8[])`,
        [pass, ranges.map(({ lower }) => lower), ranges.map(({ upper }) => upper)],
      )
    }
    for (const lease of leases) await checkFence(target, lease)
    await target.query('commit')
  } catch (error) {
    await target.query('rollback').catch(() => {})
    throw error
  }
}

/**
 * What is copied into this table is written to large objects, and never stays in it: pieces come through COPY without
 * work for each in the client. The check fails if the trigger does not fire, whatever the settings of the database are.
 */
const INLET = `
  do $do$ begin
    if to_regclass('pgflex.large_object_piece') is null then
      create table pgflex.large_object_piece (
        loid  oid    not null,
        start bigint not null,
        data  bytea  not null,
        constraint written_by_the_trigger check (false)
      );
      create or replace function pgflex.put_large_object_piece() returns trigger language plpgsql as $$
        begin
          perform pg_catalog.lo_put(new.loid, new.start, new.data);
          return null;
        end $$;
      create trigger put before insert on pgflex.large_object_piece
        for each row execute procedure pgflex.put_large_object_piece();
      alter table pgflex.large_object_piece enable always trigger put;
    end if;
  end $do$`

/** Ranges that are not done in a pass. */
export async function openRanges(target: Connection, pass: string): Promise<LargeObjectRange[]> {
  const { rows } = await target.query<Record<keyof LargeObjectRange, string>>(
    'select lower, upper from pgflex.large_object_range where pass = $1 and not done order by lower',
    [pass],
  )
  return rows.map(({ lower, upper }) => ({ lower: Number(lower), upper: Number(upper) }))
}

/** Adds what a transaction has written to its range, and marks it as done; the fence is the caller's to check. */
export async function markRange(
  writer: Connection,
  pass: string,
  { lower }: LargeObjectRange,
  { done, objects, bytes }: { done: boolean; objects: number; bytes: number },
): Promise<void> {
  await writer.query(
    `update pgflex.large_object_range
        set done = $3, objects_written = objects_written + $4, bytes_written = bytes_written + $5
      where pass = $1 and lower = $2`,
    [pass, lower, done, objects, bytes],
  )
}

export interface PassSums {
  /** Ranges that are not done. */
  open: number
  /** Large objects that were made, written to or dropped. */
  objects: number
  bytes: number
}

export async function passSums(target: Connection, pass: string): Promise<PassSums> {
  const { rows } = await target.query<Record<keyof PassSums, string>>(
    `select count(*) filter (where not done)     as open,
            coalesce(sum(objects_written), 0)    as objects,
            coalesce(sum(bytes_written), 0)      as bytes
       from pgflex.large_object_range
      where pass = $1`,
    [pass],
  )
  const { open, objects, bytes } = rows[0]!
  return { open: Number(open), objects: Number(objects), bytes: Number(bytes) }
}
