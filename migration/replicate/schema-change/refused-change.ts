import { errorText, MigrationError } from '../../errors.ts'
import { id } from '../../sql.ts'
import type { TableName } from '../../load/tables.ts'
import type { TargetDefinition } from './target-definition.ts'

/** Columns as the stream sends them, with their types as SQL. */
export interface SentColumn {
  name: string
  type: string
}

/** The error for a change of a table's definition that is not carried over: replication waits at this very place. */
export function changeRefused(
  table: TableName,
  sent: readonly SentColumn[],
  target: TargetDefinition,
  { why, mendable }: { why: string; mendable: boolean },
): MigrationError {
  const columns = target.columns.filter(({ generated }) => !generated)
  return new MigrationError(
    'SchemaChanged',
    `The definition of ${table.schema}.${table.name} was changed on the source in a way that is not carried over: ${why}. ` +
      `Source: (${list(sent, columns)}). Target: (${list(columns, sent)}).`,
    { hint: mendable ? wayOut(table, sent, columns) : anew(table, 'Have'), target: 'target' },
  )
}

/** The error for a change that the target does not let us make. */
export function changeFailed(
  table: TableName,
  sent: readonly SentColumn[],
  target: TargetDefinition,
  cause: unknown,
): MigrationError {
  const { message, hint } = changeRefused(table, sent, target, {
    why: `the target refused it: ${errorText(cause)}`,
    mendable: true,
  })
  return new MigrationError('SchemaChanged', message, {
    hint: `Take away on the target what is in the way (a view, for instance), or make the change there yourself. ${hint}`,
    target: 'target',
    cause,
  })
}

/** Columns in a message; of a wider table those that the other side does not have. The status document stays small. */
const LISTED = 30

function list(columns: readonly SentColumn[], others: readonly SentColumn[]): string {
  const differing = columns.filter(({ name, type }) => !others.some((o) => o.name === name && o.type === type))
  const shown = columns.length <= LISTED ? columns : differing.slice(0, LISTED)
  const more = columns.length - shown.length
  return [...shown.map(({ name, type }) => `${id(name)} ${type}`), ...(more > 0 ? [`${more} more`] : [])].join(', ')
}

/** What makes the target's columns those of the source. Which of an added and a dropped one are the same, the user knows. */
function wayOut(table: TableName, sent: readonly SentColumn[], columns: readonly SentColumn[]): string {
  const alter = `alter table ${id(table.schema, table.name)}`
  const there = new Map(columns.map(({ name, type }) => [name, type]))
  const names = new Set(sent.map(({ name }) => name))
  const gone = columns.filter(({ name }) => !names.has(name))
  const added = sent.filter(({ name }) => !there.has(name))
  const statements = [
    ...gone.map(({ name }) => `${alter} drop column ${id(name)};`),
    ...added.map(({ name, type }) => `${alter} add column ${id(name)} ${type};`),
    ...sent.flatMap(({ name, type }) =>
      there.has(name) && there.get(name) !== type ? [`${alter} alter column ${id(name)} type ${type} using …;`] : [],
    ),
  ]
  const rename =
    gone.length > 0 && added.length > 0
      ? ` If a column was renamed: ${alter} rename column ${id(gone[0]!.name)} to ${id(added[0]!.name)};`
      : ''
  if (statements.length === 0) return anew(table, 'Have')
  const mend = `Make the columns of the target those of the source, with the values that its rows have there: ${statements.join(' ')}`
  return `${mend}${rename} ${anew(table, 'Or have')}`
}

function anew({ schema, name }: TableName, have: string): string {
  return `${have} the table copied anew: drop table ${id(schema, name)}; on the target. Replication then goes on by itself from where it is.`
}
