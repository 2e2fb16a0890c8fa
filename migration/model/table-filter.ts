import type { PgflexOptions } from './record.ts'

/** True for the tables that a migration takes along. */
export type TableFilter = (schema: string, table: string) => boolean

/**
 * The tables that the user asked for: those that match a pattern of `includeTables` (all, when there is none)
 * and none of `excludeTables`. A pattern is `schema.table` in the catalog's spelling; `*` stands for any text.
 */
export function tableFilter(options: Pick<PgflexOptions, 'includeTables' | 'excludeTables'>): TableFilter {
  const included = (options.includeTables ?? []).map(matcher)
  const excluded = (options.excludeTables ?? []).map(matcher)
  return (schema, table) => {
    const name = `${schema}.${table}`
    return (included.length === 0 || included.some((match) => match(name))) && !excluded.some((match) => match(name))
  }
}

function matcher(pattern: string): (name: string) => boolean {
  const expression = new RegExp(`^${pattern.split('*').map(escape).join('.*')}$`, 's')
  return (name) => expression.test(name)
}

function escape(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}
