import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { parseLsn } from '../lsn.ts'
import { pause } from '../replicate/slice-report.ts'
import {
  beginTables,
  endTable,
  isComparisonDue,
  leaveTables,
  markedFrom,
  readComparedTables,
  readProgress,
  recordDefinitions,
  recordLook,
} from './compared-tables.ts'
import { tableKey, tableTitle } from './compared-table.ts'
import { readDefinitions } from './table-definition.ts'
import { targetReaches } from './target-reaches.ts'
import {
  findVerification,
  forgetVerification,
  moveTo,
  newVerification,
  storeVerification,
  type QueuedTable,
  type VerificationState,
} from './verification-state.ts'
import { verifyWhileFollowing, type KeptTables, type Verification } from './verify-while-following.ts'

/** In the place of the time of a request. */
export const BACKGROUND = 'background'
/** Tables whose changes are marked from one place on: to wait for that takes a second. */
const TABLES_AT_A_TIME = 500
/** Bytes of them: marks of what is not compared for a long time are of no use. */
const BYTES_AT_A_TIME = 64 * 1024 * 1024
/** Pause after each piece of work, in parts of the time that it took: nobody waits for it. */
const REST = 2
/** ms between two looks whether changes are marked. */
const LOOK_MS = 50

/**
 * The full comparison that nobody has to ask for. Tables that it finds equal are compared at the cutover only where the
 * stream has changed them since; see replicate/apply/change-marks.ts. It begins anew with what can't be told by rows:
 * new tables, and those that were altered, truncated, or changed too much.
 *
 * @returns what it has come to when it has ended now
 */
export async function compareInBackground(
  base: Omit<Verification, 'state' | 'rest' | 'kept'>,
): Promise<VerificationState | undefined> {
  const { context, control } = base
  const stored = await findVerification(control, BACKGROUND)
  const state = stored ?? newVerification(BACKGROUND, new Date().toISOString())
  const verification: Verification = { ...base, state, rest: REST }
  verification.kept = keptTables(verification)
  const ended = await verifyWhileFollowing(verification)
  if (ended) await recordLook(control)
  await context.status({ comparison: { running: !ended, ...(await readProgress(control)) } })
  if (ended && state.report.tables > 0) return state
  // There was nothing to compare.
  if (ended) await forgetVerification(control, BACKGROUND)
  return undefined
}

/** Whether there may be something to compare; if not, shows how it stands. */
export async function isBackgroundDue(context: DatabaseContext, control: Connection): Promise<boolean> {
  if ((await findVerification(control, BACKGROUND)) || (await isComparisonDue(control))) return true
  await context.status({ comparison: { running: false, ...(await readProgress(control)) } })
  return false
}

function keptTables(verification: Verification): KeptTables {
  const { context, source, target, control, signal, state } = verification
  const ready = new Set<number>()
  return {
    async choose(followed, left) {
      const known = await readComparedTables(control)
      const definitions = await readDefinitions(source, target, followed)
      await leaveTables(
        control,
        left.filter((table) => known.get(tableKey(table))?.state !== 'unequal'),
      )
      return followed.filter((table) => {
        const before = known.get(tableKey(table))
        if (!before || before.state === 'running') return true
        if (before.state === 'unequal' || !before.isOld) return false
        return before.whole || before.definition !== definitions.get(tableKey(table))
      })
    },
    async begin() {
      const [first] = state.tables!
      if (first!.id !== undefined && ready.has(first!.id)) return true
      if (first!.id === undefined || !(await markedFrom(control, [first!.id])).has(first!.id)) {
        const batch = nextBatch(state.tables!)
        const ids = await beginTables(control, batch)
        batch.forEach((table, i) => {
          table.id = ids[i]!
        })
        moveTo(state, { pass: 'source' })
        // Without their ids they would begin anew.
        await storeVerification(control, state)
      }
      const begun = state.tables!.filter(({ id }) => id !== undefined) as Required<QueuedTable>[]
      const lsn = await markedSince(begun.map(({ id }) => id))
      if (lsn === undefined || !(await targetReaches(verification, lsn))) return false
      const definitions = await readDefinitions(source, target, begun)
      await recordDefinitions(
        control,
        begun.map((table) => ({ id: table.id, definition: definitions.get(tableKey(table)) ?? '' })),
      )
      begun.forEach(({ id }) => ready.add(id))
      return true
    },
    async end({ schema, name, id }) {
      const title = tableTitle({ schema, name })
      const { differences, whileFollowing } = state.report
      // Rows that changed at every look are marked: nothing has to be known of them.
      const isEqual = ![...differences, ...whileFollowing!.skipped].some(({ table }) => table === title)
      if (id !== undefined) await endTable(control, id, isEqual)
    },
    async show() {
      await context.status({ comparison: { running: true, ...(await readProgress(control)) } })
    },
  }

  /** Waits until changes of all of them are marked. @returns the last place from which on; undefined when told to stop */
  async function markedSince(ids: number[]) {
    while (!signal.aborted) {
      const places = await markedFrom(control, ids)
      const said = [...places.values()].filter((lsn) => lsn !== null)
      if (said.length === places.size) return said.map(parseLsn).reduce((a, b) => (a > b ? a : b))
      await pause(LOOK_MS, signal)
    }
    return undefined
  }
}

/** At least one. */
export function nextBatch(tables: QueuedTable[]): QueuedTable[] {
  let bytes = 0
  const end = tables.findIndex((table, i) => {
    bytes += table.bytes
    return i > 0 && (bytes > BYTES_AT_A_TIME || i >= TABLES_AT_A_TIME)
  })
  return end === -1 ? tables.slice() : tables.slice(0, end)
}
