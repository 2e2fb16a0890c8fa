import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { tableFilter } from '../model/table-filter.ts'

/** A sequence of a user, with the column that it belongs to. */
export interface OwnedSequence {
  schema: string
  name: string
  tableSchema: string | null
  table: string | null
  column: string | null
  /** Of an identity column: it is made with its column only. */
  identity: boolean
}

/**
 * The sequences that a cutover carries over (sequences.ts), without those of tables that are left out.
 *
 * @returns how many the source has, and those of them that the target lacks
 */
export async function findSequences(
  context: DatabaseContext,
  source: Connection,
  target: Connection,
): Promise<{ sequences: number; missing: OwnedSequence[] }> {
  const filter = tableFilter(context.record.properties.pgflex)
  const there = new Set((await readOwnedSequences(target)).map(keyOf))
  const sequences = (await readOwnedSequences(source)).filter(
    ({ tableSchema, table }) => tableSchema === null || table === null || filter(tableSchema, table),
  )
  return { sequences: sequences.length, missing: sequences.filter((sequence) => !there.has(keyOf(sequence))) }
}

const keyOf = ({ schema, name }: OwnedSequence): string => JSON.stringify([schema, name])

async function readOwnedSequences(connection: Connection): Promise<OwnedSequence[]> {
  const { rows } = await connection.query<Omit<OwnedSequence, 'identity'> & { type: string | null }>(
    `select n.nspname as schema, c.relname as name, tn.nspname as "tableSchema", t.relname as table,
            a.attname as column, d.deptype as type
       from pg_class     as c
       join pg_namespace as n on n.oid = c.relnamespace
       left join pg_depend    as d  on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refobjsubid > 0
                                   and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
       left join pg_class     as t  on t.oid = d.refobjid
       left join pg_namespace as tn on tn.oid = t.relnamespace
       left join pg_attribute as a  on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
      where c.relkind = 'S' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgflex')
        and not exists (select from pg_depend as e
                         where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')
      order by 1, 2`,
  )
  return rows.map(({ type, ...sequence }) => ({ ...sequence, identity: type === 'i' }))
}
