import type { Connection } from '../connect.ts'
import { markStepDone } from '../control/control-schema.ts'
import { id } from '../sql.ts'

interface IdentityColumn {
  schema: string
  table: string
  column: string
}

/** Where the columns that were GENERATED ALWAYS are remembered. */
const STEP = 'identity columns'

/**
 * Makes the GENERATED ALWAYS identity columns of the target BY DEFAULT while changes are applied: an UPDATE may
 * set an ALWAYS column to DEFAULT only, and a change from the source carries a value. Idempotent.
 * https://www.postgresql.org/docs/current/sql-createtable.html#SQL-CREATETABLE-PARMS-GENERATED-IDENTITY
 */
export async function loosenIdentityColumns(target: Connection): Promise<void> {
  await target.query('begin')
  try {
    // A partition follows its parent from 17 on, and has no identity of its own before.
    const { rows } = await target.query<IdentityColumn>(`
      select n.nspname as schema, c.relname as table, a.attname as column
        from pg_attribute as a
        join pg_class     as c on c.oid = a.attrelid
        join pg_namespace as n on n.oid = c.relnamespace
       where a.attidentity = 'a'
         and not a.attisdropped
         and not c.relispartition
         and n.nspname !~ '^pg_'
         and n.nspname not in ('information_schema', 'pgflex')
         and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
       order by 1, 2, 3`)
    await setGenerated(target, rows, 'by default')
    // A second call finds no such column, and leaves the list of the first one.
    await markStepDone(target, STEP, rows)
    await target.query('commit')
  } catch (error) {
    await target.query('rollback').catch(() => {})
    throw error
  }
}

/** The same for tables that are made later, inside a transaction of the caller. */
export async function loosenNewIdentityColumns(
  target: Connection,
  tables: readonly { schema: string; name: string }[],
): Promise<void> {
  const { rows } = await target.query<IdentityColumn>(
    `select n.nspname as schema, c.relname as table, a.attname as column
       from pg_catalog.pg_attribute as a
       join pg_catalog.pg_class     as c on c.oid = a.attrelid
       join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
      where a.attidentity = 'a' and not a.attisdropped and not c.relispartition
        and (n.nspname, c.relname) in (select * from unnest($1::name[], $2::name[]))`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  if (rows.length === 0) return
  await setGenerated(target, rows, 'by default')
  await target.query(
    `insert into pgflex.step (name, detail) values ($1, $2)
         on conflict (name) do update set detail = pgflex.step.detail || excluded.detail`,
    [STEP, JSON.stringify(rows)],
  )
}

/** Makes them GENERATED ALWAYS again. Idempotent. */
export async function restoreIdentityColumns(target: Connection): Promise<void> {
  const { rows } = await target.query<{ detail: string }>('select detail from pgflex.step where name = $1', [STEP])
  const columns = rows[0] === undefined ? [] : (JSON.parse(rows[0].detail) as IdentityColumn[])
  await setGenerated(target, columns, 'always')
}

/** Columns of one query, which outside of a transaction is one: it locks their tables until its end. */
const COLUMNS_AT_A_TIME = 100

async function setGenerated(
  target: Connection,
  columns: readonly IdentityColumn[],
  how: 'always' | 'by default',
): Promise<void> {
  for (let first = 0; first < columns.length; first += COLUMNS_AT_A_TIME) {
    const statements = columns
      .slice(first, first + COLUMNS_AT_A_TIME)
      .map(
        ({ schema, table, column }) =>
          `alter table ${id(schema, table)} alter column ${id(column)} set generated ${how}`,
      )
    await target.query(statements.join(';\n'))
  }
}
