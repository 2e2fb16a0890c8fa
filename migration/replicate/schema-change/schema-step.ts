import type { TableName } from '../../load/tables.ts'
import { id, literal } from '../../sql.ts'
import type { Statement } from '../apply/statements.ts'
import type { TargetDefinition } from './target-definition.ts'

/** One change of a table's definition on the target. */
export type SchemaStep = { column: string; atRoot: boolean } & (
  | { kind: 'add'; type: string; collation: string | null; missing: string | undefined }
  | { kind: 'addGenerated'; type: string; expression: string; stored: boolean }
  | { kind: 'drop' }
  | { kind: 'rename'; to: string }
  | { kind: 'retype'; type: string }
  | { kind: 'default'; expression: string | null }
  | { kind: 'notNull'; notNull: boolean }
)

/** The statements of steps, for the transaction that applies. Never CASCADE: what depends on a column is not ours. */
export function stepStatements(table: TableName, target: TargetDefinition, steps: readonly SchemaStep[]): Statement[] {
  if (steps.length === 0) return []
  const ddl = (sql: string): Statement => ({ sql, params: [], kind: 'schema', expected: 0 })
  const constraints = target.deferrable.join(', ')
  return [
    // A table cannot be altered while checks of it wait for the commit; on the source they could not wait either.
    ...(constraints === '' ? [] : [ddl(`set constraints ${constraints} immediate`)]),
    ...steps.flatMap((step) => stepSql(table, target, step).map(ddl)),
    ...(constraints === '' ? [] : [ddl(`set constraints ${constraints} deferred`)]),
  ]
}

function stepSql(table: TableName, { root }: TargetDefinition, step: SchemaStep): string[] {
  const at = step.atRoot && root ? root : table
  const alter = `alter table ${id(at.schema, at.name)}`
  const column = id(step.column)
  switch (step.kind) {
    case 'add': {
      const { type, collation, missing } = step
      const collate = collation === null ? '' : ` collate ${collation}`
      if (missing === undefined) return [`${alter} add column ${column} ${type}${collate}`]
      // The default of the rows that are there; that of later rows may be another one, and comes with settleColumns.
      return [
        `${alter} add column ${column} ${type}${collate} default ${literal(missing)}`,
        `${alter} alter column ${column} drop default`,
      ]
    }
    case 'addGenerated':
      return [
        `${alter} add column ${column} ${step.type} generated always as (${step.expression}) ${step.stored ? 'stored' : 'virtual'}`,
      ]
    case 'drop':
      return [`${alter} drop column ${column}`]
    case 'rename':
      return [`${alter} rename column ${column} to ${id(step.to)}`]
    case 'retype':
      return [`${alter} alter column ${column} type ${step.type}`]
    case 'default':
      return [
        `${alter} alter column ${column} ${step.expression === null ? 'drop default' : `set default ${step.expression}`}`,
      ]
    case 'notNull':
      return [`${alter} alter column ${column} ${step.notNull ? 'set' : 'drop'} not null`]
  }
}

/** For people. */
export function describeStep(step: SchemaStep): string {
  switch (step.kind) {
    case 'add':
    case 'addGenerated':
      return `column ${step.column} ${step.type} added`
    case 'drop':
      return `column ${step.column} dropped`
    case 'rename':
      return `column ${step.column} renamed to ${step.to}`
    case 'retype':
      return `type of column ${step.column} widened to ${step.type}`
    case 'default':
      return `default of column ${step.column} ${step.expression === null ? 'removed' : 'set'}`
    case 'notNull':
      return `column ${step.column} ${step.notNull ? 'no longer nullable' : 'nullable'}`
  }
}
