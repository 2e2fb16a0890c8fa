import type { Connection } from '../connect.ts'

/** Rows of pgflex.change_mark of one table: beyond, they are gathered in one. */
const MANY_MARKS = 500
/** Compressed as they are stored; a value of PostgreSQL holds 1 GB. Larger ones are left as they are. */
const MOST_BYTES = 100 * 1024 ** 2

/**
 * Puts many marks of a table into one that has each key once, in one statement: at no time is a mark missing. What a
 * stream has marked is marked again by the next one, so that without this, marks of busy rows would grow with the time.
 */
export async function gatherMarks(target: Connection): Promise<void> {
  const { rows } = await target.query<{ id: string; keys: string | null }>(
    `select k.table_id as id, max(cardinality(k.keys)) as keys
       from pgflex.change_mark k
      group by 1
     having count(*) > ${MANY_MARKS} and coalesce(sum(pg_column_size(k.keys)), 0) < ${MOST_BYTES}`,
  )
  for (const { id, keys } of rows) {
    const columns = Array.from({ length: Number(keys ?? 0) }, (_, i) => `c${i}`)
    const arrays = columns.map((_, i) => `old.keys[${i + 1}]::text[]`)
    const key = `
      key as (select distinct part.* from old, unnest(${arrays.join(', ')}) as part (${columns.join(', ')})
               where old.keys is not null),`
    await target.query(
      `with old as (delete from pgflex.change_mark where table_id = $1 returning keys, blocks),
            ${keys === null ? '' : key}
            block as (select distinct part.number from old, unnest(old.blocks) as part (number)),
            whole as (select ${keys === null ? '0 as keys, null::text[] as texts' : `count(*) as keys, array[${columns.map((name) => `array_agg(${name})::text`).join(', ')}] as texts from key`})
       insert into pgflex.change_mark (table_id, marks, keys, blocks)
       select $1, whole.keys + (select count(*) from block), case when whole.keys > 0 then whole.texts end,
              (select array_agg(number) from block)
         from whole`,
      [id],
    )
  }
}
