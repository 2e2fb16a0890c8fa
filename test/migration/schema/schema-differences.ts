import type { Connection } from '../../../migration/connect.ts'
import { parseSync } from '../../../migration/schema/parser.ts'
import { splitDump } from '../../../migration/schema/split.ts'
import { objectTitle } from '../../../migration/schema/statements.ts'
import { schemaOf } from './schema-test.ts'

/** What pg_dump prints of one object on one side only. */
export interface SchemaDifference {
  /** As {@link objectTitle} names it. */
  object: string
  source: string[]
  target: string[]
}

/** What pg_dump prints of a database, by object. */
export async function statementsByObject(connection: Connection): Promise<Map<string, string[]>> {
  const objects = new Map<string, string[]>()
  for (const statement of await splitDump(await schemaOf(connection))) {
    const object = objectTitle(statement)
    objects.set(object, [...(objects.get(object) ?? []), statement.sql])
  }
  return objects
}

/** The order of statements of one object is pg_dump's, and no difference. */
export function compareSchemas(source: Map<string, string[]>, target: Map<string, string[]>): SchemaDifference[] {
  return [...new Set([...source.keys(), ...target.keys()])].sort().flatMap((object) => {
    const [left, right] = [[...(source.get(object) ?? [])], [...(target.get(object) ?? [])]]
    const missing = left.filter((sql) => {
      const at = right.indexOf(sql)
      if (at !== -1) right.splice(at, 1)
      return at === -1
    })
    return missing.length === 0 && right.length === 0 ? [] : [{ object, source: missing, target: right }]
  })
}

/** True when both sides say the same to the parser, but for qualifiers of columns, which older servers print always. */
export function sameQuery({ source, target }: SchemaDifference): boolean {
  return source.length === target.length && source.every((sql, n) => shape(sql) === shape(target[n]!))
}

function shape(sql: string): string {
  return JSON.stringify(parseSync(sql).stmts, (key, value: unknown) => {
    if (key === 'location' || key === 'stmt_location' || key === 'stmt_len') return undefined
    if (key === 'ColumnRef') return (value as { fields: unknown[] }).fields.at(-1)
    return value
  })
}
