import { parseSync } from './parser.ts'
import type { SchemaStatement } from './split.ts'

/** The table of a CREATE STATISTICS, as `schema.table`: the statistics may be in another schema. */
export function statisticsTable({ sql }: SchemaStatement): string | undefined {
  const statement = parseSync(sql).stmts?.[0]?.stmt
  if (statement === undefined || !('CreateStatsStmt' in statement)) return undefined
  const relation = statement.CreateStatsStmt.relations?.[0]
  if (relation === undefined || !('RangeVar' in relation)) return undefined
  const { schemaname, relname } = relation.RangeVar
  return schemaname === undefined || relname === undefined ? undefined : `${schemaname}.${relname}`
}
