import { parseSync } from './parser.ts'
import type { TableFilter } from '../model/table-filter.ts'
import type { SchemaStatement } from './split.ts'
import type { NewStatement, PlannedStatement } from './statements.ts'

const RELATIONS = new Set(['TABLE', 'FOREIGN TABLE'])
const LEFT_OUT = 'left out by includeTables or excludeTables'
const VIEWS = new Set(['VIEW', 'MATERIALIZED VIEW'])

/**
 * Skips the tables that the user left out, and whatever cannot be without them: their indexes, constraints,
 * triggers and partitions' attachments, foreign keys that point to them, views on them and on such views.
 *
 * @param leftOut names that are left out already, as {@link relationName} writes them; those found are added
 */
export function skipLeftOut(
  statements: SchemaStatement[],
  filter: TableFilter,
  leftOut: Set<string> = new Set(),
): NewStatement[] {
  return statements.map((statement) => {
    const { kind, schemaName, objectName } = statement
    const name = schemaName === null || objectName === null ? undefined : relationName(schemaName, objectName)
    if (RELATIONS.has(kind) && name !== undefined && !filter(schemaName!, objectName!)) {
      leftOut.add(name)
      return { ...statement, state: 'skipped', message: LEFT_OUT }
    }
    if (leftOut.size === 0) return statement
    const missing = namedRelations(statement).find((relation) => leftOut.has(relation))
    if (missing === undefined) return statement
    if (VIEWS.has(kind) && name !== undefined) leftOut.add(name)
    return { ...statement, state: 'skipped', message: `needs ${missing}, which is left out` }
  })
}

/**
 * True when a skipped statement is no news to the user who left a table out: the table itself, and what belongs
 * to it. A view that is missing for that reason is.
 */
export function isExpected({ kind, state, message }: Pick<PlannedStatement, 'kind' | 'state' | 'message'>): boolean {
  if (state !== 'skipped' || message === null) return false
  return message === LEFT_OUT || (/^needs .* which is left out$/s.test(message) && !isRelation(kind))
}

export function isRelation(kind: string): boolean {
  return RELATIONS.has(kind) || VIEWS.has(kind)
}

export function relationName(schema: string, relation: string): string {
  return `${schema}.${relation}`
}

function namedRelations(statement: SchemaStatement): string[] {
  const { schemaName, objectName, tableName } = statement
  const own = [tableName, /ON|OF/.test(statement.kind) ? objectName : null]
  const names = own.flatMap((name) => (schemaName === null || name === null ? [] : [relationName(schemaName, name)]))
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit)
    else if (typeof value === 'object' && value !== null) {
      const { schemaname, relname } = value as { schemaname?: unknown; relname?: unknown }
      if (typeof schemaname === 'string' && typeof relname === 'string') names.push(relationName(schemaname, relname))
      Object.values(value).forEach(visit)
    }
  }
  try {
    visit(parseSync(statement.sql).stmts)
  } catch {
    // What the parser does not know is left to the server.
  }
  return names
}
