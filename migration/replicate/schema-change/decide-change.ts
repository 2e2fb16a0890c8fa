import type { SchemaStep } from './schema-step.ts'
import type { SourceDefinition } from './source-definition.ts'
import type { Relation } from '../pgoutput-message.ts'
import { Refusal, TableChange, type ChangeInput } from './table-change.ts'
import { highestNumber, shapeOf, type ShapeColumn, type TableShape } from './table-shape.ts'

/** What a description of a table means for the target. */
export type ChangeDecision =
  | { kind: 'same'; shape?: TableShape }
  | { kind: 'steps'; steps: SchemaStep[]; shape: TableShape }
  /** mendable: when the target has the columns of the source, it is known again which one is which. */
  | { kind: 'refused'; why: string; mendable: boolean }
  /** It was changed, and dropped after that: whatever the change was, its rows are of no interest any more. */
  | { kind: 'dropped' }

/**
 * Compares a table's description in the stream with the target, and says what brings the target to it.
 *
 * The description has names and types and no more, and the catalog may have gone on since: a later change of it is
 * told by the attribute numbers, which are never used again. What a column was called in between, once it is
 * dropped, nobody knows. So a name stands for the column that the catalog has under it, unless another column that
 * is gone by now could have had it: then it can't be told, and nothing is guessed.
 */
export function decideChange(input: ChangeInput): ChangeDecision {
  try {
    return decide(input)
  } catch (error) {
    if (error instanceof Refusal) return { kind: 'refused', why: error.message, mendable: error.mendable }
    throw error
  }
}

function decide({ relation, types, target, source, xid }: ChangeInput): ChangeDecision {
  const names = new Set(relation.columns.map(({ name }) => name))
  const computed = target.columns.find(({ name, generated }) => generated && names.has(name))
  if (computed) throw new Refusal(`column ${computed.name} is no longer generated on the source`)
  const own = target.columns.filter(({ generated }) => !generated)
  const sameNames = own.length === names.size && own.every(({ name }) => names.has(name))
  const { shape } = target
  if (shape && shape.tableOid !== relation.oid) {
    throw new Refusal('another table of the source has this name now, renamed or made anew', false)
  }
  if (!shape) {
    if (!sameNames) throw new Refusal('which column of the source each column of the target stands for is not known')
    return source && agrees(source, relation) ? { kind: 'same', shape: shapeOf(source) } : { kind: 'same' }
  }
  if (!source) {
    const typesSame = shape.columns.every((column) => sameType(column, relation.columns))
    return sameNames && typesSame ? { kind: 'same' } : { kind: 'dropped' }
  }
  const change = new TableChange({ relation, types, target, shape, source, xid })
  const steps = change.steps(own)
  const next = nextShape(change, steps.length > 0)
  if (steps.length > 0) return { kind: 'steps', steps, shape: next }
  return JSON.stringify(next) === JSON.stringify(shape) ? { kind: 'same' } : { kind: 'same', shape: next }
}

function sameType({ name, typeOid, typeModifier }: ShapeColumn, columns: Relation['columns']): boolean {
  return columns.some((c) => c.name === name && c.typeOid === typeOid && c.typeModifier === typeModifier)
}

/** The catalog's columns are those of the relation. */
function agrees(source: SourceDefinition, relation: Pick<Relation, 'columns'>): boolean {
  const sent = source.attributes.filter(({ dropped, generated }) => !dropped && generated === '')
  return (
    sent.length === relation.columns.length &&
    sent.every(({ name, typeOid, typeModifier }, i) => {
      const column = relation.columns[i]!
      return column.name === name && column.typeOid === typeOid && column.typeModifier === typeModifier
    })
  )
}

/**
 * The shape after the change. What the catalog says of the table as a whole counts only if it has no column beyond
 * those of the relation: a column that is added later has no value of its own in any row as long as the file stays.
 */
function nextShape({ input, attnums, added }: TableChange, changed: boolean): TableShape {
  const { relation, shape, source, xid } = input
  const highest = Math.max(shape.attributes, ...attnums.values())
  const beyond =
    xid !== undefined && source.attributes.some(({ attnum, generated }) => generated === '' && attnum > highest)
  const before = new Map(shape.columns.map((column) => [column.attnum, column]))
  return {
    tableOid: relation.oid,
    filenode: beyond ? shape.filenode : source.filenode,
    attributes: beyond ? highest : highestNumber(source),
    columns: relation.columns.map(({ name, typeOid, typeModifier }) => {
      const attnum = attnums.get(name)!
      const carried = added.has(name) ? { expression: null, notNull: false } : before.get(attnum)?.carried
      return { name, attnum, typeOid, typeModifier, ...(carried ? { carried } : {}) }
    }),
    generated: shape.generated,
    ...(changed || shape.replan ? { replan: true as const } : {}),
  }
}
