import type { SchemaStep } from './schema-step.ts'
import type { SourceDefinition } from './source-definition.ts'
import type { TableShape } from './table-shape.ts'
import type { TargetDefinition } from './target-definition.ts'

/**
 * What the stream never shows, from a catalog that is of the target's very place: default and NOT NULL of the columns
 * that were carried over, and generated columns.
 *
 * @returns the shape after the steps
 */
export function settleColumns(
  target: TargetDefinition,
  source: SourceDefinition,
  shape: TableShape,
): { steps: SchemaStep[]; shape: TableShape } {
  const live = source.attributes.filter(({ dropped }) => !dropped)
  const generated = live.filter((attribute) => attribute.generated !== '')
  const there = new Map(target.columns.map((column) => [column.name, column]))
  const hasRoot = target.root !== undefined
  const steps: SchemaStep[] = []
  for (const { name, generated: computed, inherited } of target.columns) {
    if (!computed || !shape.generated.includes(name) || generated.some((attribute) => attribute.name === name)) continue
    steps.push({ kind: 'drop', column: name, atRoot: hasRoot && inherited })
  }
  for (const { name, type, expression, generated: kind, inherited } of generated) {
    if (there.has(name) || expression === null) continue
    const stored = kind === 's'
    steps.push({ kind: 'addGenerated', column: name, type, expression, stored, atRoot: hasRoot && inherited })
  }
  const columns = shape.columns.map((column) => {
    const attribute = live.find(({ attnum }) => attnum === column.attnum)
    if (!column.carried || !attribute) return column
    const { name } = column
    const { expression, notNull, inherited } = attribute
    // What the parents say as well was said to them.
    const parent = hasRoot && inherited ? source.parentColumns?.[name] : undefined
    if (expression !== column.carried.expression) {
      steps.push({ kind: 'default', column: name, expression, atRoot: parent?.expression === expression })
    }
    if (notNull !== column.carried.notNull) {
      steps.push({ kind: 'notNull', column: name, notNull, atRoot: parent?.notNull === notNull })
    }
    return { ...column, carried: { expression, notNull } }
  })
  return { steps, shape: { ...shape, columns, generated: generated.map(({ name }) => name) } }
}
