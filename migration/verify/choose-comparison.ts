import type { DatabaseContext } from '../context.ts'
import { BLOCK } from '../replicate/apply/integer-blocks.ts'
import type { TableToCompare } from './compare-at-marks.ts'
import { readComparedTables, type ComparedTableState } from './compared-tables.ts'
import { tableKey, type ComparedTable } from './compared-table.ts'
import { readDefinitions } from './table-definition.ts'

/** Which tables are compared at their marks, and which whole. */
export interface ComparisonChoice {
  atMarks: TableToCompare[]
  whole: ComparedTable[]
}

/** Bytes of the heap for each mark, below which a table is read whole in less time: rows that are looked up cost more. */
const BYTES_PER_MARK = 400

/**
 * Chooses how each table is compared at the cutover. At its marks is enough for one that was found equal as it is now
 * defined, while all that has changed in it since is marked.
 */
export async function chooseComparison(context: DatabaseContext, tables: ComparedTable[]): Promise<ComparisonChoice> {
  const { migrationMode, pgflex } = context.record.properties
  if (migrationMode === 'Offline' || pgflex.compareAll === true) return { atMarks: [], whole: tables }
  await using target = await context.target('verification')
  const states = await readComparedTables(target)
  const candidates = tables.filter((table) => states.get(tableKey(table))?.state === 'equal')
  if (candidates.length === 0) return { atMarks: [], whole: tables }
  await using source = await context.source('verification')
  const definitions = await readDefinitions(source, target, candidates)
  const choice: ComparisonChoice = { atMarks: [], whole: [] }
  for (const table of tables) {
    const state = states.get(tableKey(table))
    if (state && isKnownEqual(state, definitions.get(tableKey(table))) && isCheaper(state, table)) {
      choice.atMarks.push({ schema: table.schema, name: table.name, state })
    } else choice.whole.push(table)
  }
  return choice
}

export function isKnownEqual(
  { state, whole, definition }: Pick<ComparedTableState, 'state' | 'whole' | 'definition'>,
  now: string | undefined,
): boolean {
  return state === 'equal' && !whole && definition !== null && definition === now
}

/** Whether its marks are few enough; those of blocks count as one and stand for more, which are read one after the other. */
function isCheaper({ marks }: ComparedTableState, { bytes }: ComparedTable): boolean {
  return marks < BLOCK || marks * BYTES_PER_MARK < bytes
}
