import type { Connection } from '../connect.ts'
import type { DumpSection } from './dump.ts'
import type { SchemaStatement } from './split.ts'

/** A statement of the plan in the control schema, and what became of it. */
export interface PlannedStatement extends SchemaStatement {
  position: number
  state: 'pending' | 'done' | 'failed' | 'skipped'
  /** Why it failed or was skipped; of one that is done: what the server warned of. */
  message: string | null
}

export type NewStatement = SchemaStatement & Partial<Pick<PlannedStatement, 'state' | 'message'>>

/** Rows of one INSERT. */
const INSERT_ROWS = 1000

/** Of fewer it does not matter how they are found. */
const ANALYZED_ROWS = 500

/**
 * Stores the statements of a section in their order, inside a transaction of the caller.
 *
 * @param after the last position that is taken
 */
export async function storeStatements(
  target: Connection,
  section: DumpSection,
  statements: NewStatement[],
  after = 0,
): Promise<void> {
  for (let first = 0; first < statements.length; first += INSERT_ROWS) {
    const rows = statements.slice(first, first + INSERT_ROWS)
    await target.query(
      `insert into pgflex.statement
              (section, position, kind, schema_name, object_name, table_name, sql, state, message)
       select $1, $2 + n, kind, schema_name, object_name, table_name, sql, state, message
         from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
              with ordinality as s (kind, schema_name, object_name, table_name, sql, state, message, n)`,
      [
        section,
        after + first,
        rows.map((row) => row.kind),
        rows.map((row) => row.schemaName),
        rows.map((row) => row.objectName),
        rows.map((row) => row.tableName),
        rows.map((row) => row.sql),
        rows.map((row) => row.state ?? 'pending'),
        rows.map((row) => row.message ?? null),
      ],
    )
  }
  // Else the planner takes a section for a few rows, and reads all of it for each record of what was done.
  if (statements.length > ANALYZED_ROWS) await target.query('analyze pgflex.statement')
}

/**
 * Statements of a section, in their order: all of them, or those that are pending. There may be fifty thousand, with
 * their text.
 */
export async function readStatements(
  target: Connection,
  section: DumpSection,
  { pending = false, kind }: { pending?: boolean; kind?: string } = {},
): Promise<PlannedStatement[]> {
  const { rows } = await target.query<Record<string, string>>(
    `select position, kind, schema_name as "schemaName", object_name as "objectName", table_name as "tableName",
            sql, state, message
       from pgflex.statement
      where section = $1 and (not $2::bool or state = 'pending') and ($3::text is null or kind = $3)
      order by pgflex.statement.position`,
    [section, pending, kind ?? null],
  )
  return rows.map((row) => ({ ...row, position: Number(row['position']) }) as PlannedStatement)
}

/** What became of a statement; pending: it is to be tried again. */
export type Outcome = Pick<PlannedStatement, 'position' | 'state' | 'message'>

/** Records what became of statements, inside the transaction that has run them (or opens them again). */
export async function recordOutcomes(target: Connection, section: DumpSection, outcomes: Outcome[]): Promise<void> {
  await target.query(
    `update pgflex.statement as s
        set state = o.state, message = o.message
       from unnest($2::int[], $3::text[], $4::text[]) as o (position, state, message)
      where s.section = $1 and s.position = o.position`,
    [
      section,
      outcomes.map((outcome) => outcome.position),
      outcomes.map((outcome) => outcome.state),
      outcomes.map((outcome) => outcome.message),
    ],
  )
}

/** `TABLE public.orders`, `INDEX orders_date on public.orders`: for people, so names are not quoted. */
export function objectTitle({ kind, schemaName, objectName, tableName }: SchemaStatement): string {
  const qualified = (name: string): string => (schemaName === null ? name : `${schemaName}.${name}`)
  if (objectName === null) return kind
  // pg_dump's own names of what has none: CAST (a AS b), USER MAPPING x SERVER y.
  if (objectName.startsWith(`${kind} `)) return objectName
  if (tableName === null || tableName === objectName) return `${kind} ${qualified(objectName)}`
  return `${kind} ${objectName} on ${qualified(tableName)}`
}
