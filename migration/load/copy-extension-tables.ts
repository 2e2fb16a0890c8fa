import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { isStepDone, markStepDone } from '../control/control-schema.ts'
import { checkFence } from '../control/lease.ts'
import { errorText, isTransient, sqlState } from '../errors.ts'
import { tableFilter } from '../model/table-filter.ts'
import { reportPostData } from '../schema/report-post-data.ts'
import { openSchemaSessions } from '../schema/schema-session.ts'
import { id } from '../sql.ts'

/** A table or sequence of an extension that holds what is the user's. */
interface ExtensionTable {
  extension: string
  schema: string
  name: string
  isSequence: boolean
  /** A WHERE clause, or nothing: which rows are the user's. It comes from the extension's script, and pg_dump runs it, too. */
  condition: string
  columns: { name: string; type: string }[]
  bytes: number
}

/** Settings, and no data: what is larger is read again inside of the downtime, and held in memory. */
const MAX_BYTES = 8 * 1024 ** 2

/**
 * Carries over the rows that users have added to tables of extensions, where the extension says which rows these are,
 * the target has it, and our role may write there; else it warns. They are not followed: it is done after the load,
 * where troubles show early, and again at the cutover, when nothing writes any more. What is equal is left alone.
 * https://www.postgresql.org/docs/current/extend-extensions.html#EXTEND-EXTENSIONS-CONFIG-TABLES
 *
 * @throws {MigrationError} Busy, LeaseLost
 */
export async function copyExtensionTables(context: DatabaseContext): Promise<{ tables: number; warnings: string[] }> {
  const filter = tableFilter(context.record.properties.pgflex)
  await using source = await context.source('extension tables')
  const wanted = (await listExtensionTables(source)).filter(({ schema, name }) => filter(schema, name))
  const warnings: string[] = []
  if (wanted.length === 0) return { tables: 0, warnings }
  await using sessions = await openSchemaSessions(context)
  const target = await sessions.open()
  const there = new Map((await listExtensionTables(target)).map((table) => [titleOf(table), table]))
  let tables = 0
  await target.query('begin')
  /** Tells what the target, or the source, refuses of one table. */
  const attempt = async <T>(table: ExtensionTable, work: () => Promise<T>): Promise<T | undefined> => {
    await target.query('savepoint extension_table')
    try {
      return await work()
    } catch (error) {
      if (isTransient(error) || (sqlState(error) === undefined && !(error instanceof NotCarried))) throw error
      await target.query('rollback to savepoint extension_table')
      warnings.push(
        `Rows that were added to ${titleOf(table)} of extension ${table.extension} are not carried over: ${errorText(error)}. ` +
          'Add them on the target, for instance with pg_dump --data-only --table.',
      )
      return undefined
    }
  }
  try {
    for (const group of Map.groupBy(wanted, ({ extension }) => extension).values()) {
      const plans: PlannedRows[] = []
      for (const table of group) {
        const plan = await attempt(table, () => planRows(source, target, table, there.get(titleOf(table))))
        if (plan) plans.push(plan)
      }
      // One refers to the other: all of them go before any of them comes.
      if (!plans.some(({ isSame }) => !isSame)) continue
      const emptied: PlannedRows[] = []
      for (const plan of plans.toReversed()) {
        if (await attempt(plan.table, () => deleteRows(target, plan))) emptied.unshift(plan)
      }
      for (const plan of emptied) if (await attempt(plan.table, () => insertRows(target, plan))) tables++
    }
    await checkFence(target, sessions.lease)
    await target.query('commit')
  } catch (error) {
    await target.query('rollback').catch(() => {})
    throw error
  }
  await reportPostData(context, { applied: 0, failed: [], warnings })
  return { tables, warnings }
}

/** Why a table is left to the user. */
class NotCarried extends Error {}

const titleOf = ({ schema, name }: ExtensionTable): string => `${schema}.${name}`

/** In the order in which the extension names them, which is one that its foreign keys allow. */
async function listExtensionTables(connection: Connection): Promise<ExtensionTable[]> {
  const { rows } = await connection.query<{ definition: string }>(
    `select json_build_object(
              'extension', e.extname, 'schema', n.nspname, 'name', c.relname, 'isSequence', c.relkind = 'S',
              'condition', coalesce(t.condition, ''),
              'bytes', case when c.relkind = 'r' then coalesce(pg_table_size(c.oid), 0) else 0 end,
              'columns', (
                select coalesce(json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod))
                                         order by a.attnum), '[]')
                  from pg_attribute as a
                 where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                   and coalesce(to_jsonb(a) ->> 'attgenerated', '') = '')) as definition
       from pg_extension as e
      cross join lateral unnest(e.extconfig, e.extcondition) with ordinality as t (oid, condition, n)
       join pg_class     as c on c.oid = t.oid
       join pg_namespace as n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'S')
      order by e.extname, t.n`,
  )
  return rows.map(({ definition }) => JSON.parse(definition) as ExtensionTable)
}

interface PlannedRows {
  /** As the target has it: its types, its condition. */
  table: ExtensionTable
  rows: Row[]
  isEmpty: boolean
  isSame: boolean
}

/** @returns undefined when there is nothing to do */
async function planRows(
  source: Connection,
  target: Connection,
  table: ExtensionTable,
  there: ExtensionTable | undefined,
): Promise<PlannedRows | undefined> {
  if (table.isSequence) {
    if (there) await copySequence(source, target, table)
    return undefined
  }
  if (table.bytes > MAX_BYTES) throw new NotCarried(`it has more than ${MAX_BYTES / 1024 ** 2} MB`)
  const rows = await readRows(source, table)
  if (there === undefined) {
    if (rows.length === 0) return undefined
    throw new NotCarried('the extension of the target does not have this table')
  }
  const missing = table.columns.find(({ name }) => !there.columns.some((column) => column.name === name))
  if (missing) throw new NotCarried(`the extension of the target does not have its column ${missing.name}`)
  const columns = there.columns.filter(({ name }) => table.columns.some((column) => column.name === name))
  const before = await readRows(target, { ...there, columns })
  const same = isSame(columns, rows, before)
  if (before.length > 0 && !(await isStepDone(target, stepOf(table)))) {
    if (same) return undefined
    throw new NotCarried('the target has rows of its own there')
  }
  return { table: { ...there, columns }, rows, isEmpty: before.length === 0, isSame: same }
}

/** Begins the names of steps which remember that the rows of the target are those of the source. */
export const CARRIED_ROWS = 'extension table '

const stepOf = (table: ExtensionTable): string => CARRIED_ROWS + titleOf(table)

async function deleteRows(target: Connection, { table, isEmpty }: PlannedRows): Promise<true> {
  if (!isEmpty) await target.query(`delete from ${id(table.schema, table.name)} ${table.condition}`)
  return true
}

/** A row is the text of its values, by column. */
type Row = Record<string, string | null>

async function readRows(connection: Connection, { schema, name, columns, condition }: ExtensionTable): Promise<Row[]> {
  const list = columns.map((column) => `${id(column.name)}::text`).join(', ')
  return (await connection.query<Row>(`select ${list} from ${id(schema, name)} ${condition}`)).rows
}

function isSame(columns: ExtensionTable['columns'], some: Row[], others: Row[]): boolean {
  const texts = (rows: Row[]): string[] =>
    rows.map((row) => JSON.stringify(columns.map(({ name }) => row[name]))).sort()
  return JSON.stringify(texts(some)) === JSON.stringify(texts(others))
}

/** @returns whether there were any */
async function insertRows(target: Connection, { table, rows }: PlannedRows): Promise<boolean> {
  if (rows.length === 0) return false
  const { schema, name, columns } = table
  const places = columns.map((_, n) => `$${n + 1}::text[]`).join(', ')
  const values = columns.map(({ type }, n) => `v.c${n}::${type}`).join(', ')
  const names = columns.map((_, n) => `c${n}`).join(', ')
  await target.query(
    `insert into ${id(schema, name)} (${columns.map((column) => id(column.name)).join(', ')}) overriding system value
     select ${values} from unnest(${places}) as v (${names})`,
    columns.map((column) => rows.map((row) => row[column.name])),
  )
  await markStepDone(target, stepOf(table))
  return true
}

async function copySequence(source: Connection, target: Connection, { schema, name }: ExtensionTable): Promise<void> {
  const read = `select last_value, is_called from ${id(schema, name)}`
  const { rows } = await source.query<Record<'last_value' | 'is_called', string>>(read)
  const { rows: before } = await target.query<Record<'last_value' | 'is_called', string>>(read)
  const [wanted, found] = [rows[0]!, before[0]!]
  if (wanted.last_value === found.last_value && wanted.is_called === found.is_called) return
  await target.query('select setval($1::regclass, $2, $3)', [id(schema, name), wanted.last_value, wanted.is_called])
}
