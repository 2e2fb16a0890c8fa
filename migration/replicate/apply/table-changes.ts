import { MigrationError } from '../../errors.ts'
import type { DeleteMessage, UpdateMessage } from '../pgoutput-message.ts'
import { mergeTuples, tupleValues, UNCHANGED, type Tuple } from '../tuple.ts'
import { lacksKey, movesKey, rowKey, type RowKey } from './row-key.ts'
import {
  deleteAlike,
  deleteRows,
  insertRows,
  updateAlike,
  updateRows,
  type KeyedUpdate,
  type Statement,
} from './statements.ts'
import type { TablePlan } from './table-plan.ts'

/** What has become of one row since the last statements were made. */
interface RowState {
  /** A row with its key. */
  key: Tuple
  /** It stood on the target before, and was deleted. */
  deleted: boolean
  /** Its last state, unless it is gone. */
  row: Tuple | undefined
  /** `row` is to be inserted; else it is an update of the row that stands on the target. */
  inserted: boolean
}

/**
 * Changes of one table on their way into statements. With a key, only the last state of each row is kept: the
 * content of a table without triggers is nothing but the last states of its rows, in whatever order they are
 * written. Constraints can refuse another order, they can't make another content of it; the refused group is
 * then applied in order ({@link TablePlan.order}).
 */
export class TableChanges {
  readonly plan: TablePlan
  /** Rows by key; undefined as long as nothing but inserts has come, whose keys nobody has asked for. */
  #rows: Map<RowKey, RowState> | undefined
  /** Inserts that nothing else has followed yet. */
  #inserts: Tuple[] = []

  constructor(plan: TablePlan) {
    this.plan = plan
  }

  /** @returns statements that come before anything later of this table */
  insert(row: Tuple): Statement[] {
    const { keyPositions, order } = this.plan
    if (!this.#rows) {
      this.#inserts.push(row)
      return order === 'rowByRow' ? this.take() : NOTHING
    }
    const key = rowKey(row, keyPositions)
    const state = this.#rows.get(key)
    // A row of that key is there already, as far as we know: the target says what to think of it.
    const before = state?.row ? this.#takeAll() : NOTHING
    if (state && !state.row) {
      state.row = row
      state.inserted = true
    } else this.#rows.set(key, { key: row, deleted: false, row, inserted: true })
    return before
  }

  /** @returns statements that come before anything later of this table */
  update({ row, old }: Pick<UpdateMessage, 'row' | 'old'>): Statement[] {
    const { plan } = this
    if (!plan.key) {
      if (!plan.full || old?.kind !== 'O') throw keyMissing(plan)
      return [...this.take(), updateAlike(plan, old.row, row)]
    }
    const before = old?.row ?? row
    if (lacksKey(before, plan.keyPositions)) throw keyMissing(plan)
    const moves = old !== undefined && movesKey(old.row, row, plan.keyPositions)
    if (moves || plan.order !== 'lastStates') {
      return [...this.take(), ...updateRows(plan, [{ key: before, row }], moves)]
    }
    const first = this.#index()
    const rows = this.#rows!
    const key = rowKey(before, plan.keyPositions)
    const state = rows.get(key)
    if (state?.row) {
      state.row = mergeTuples(state.row, row)
      return first
    }
    // Deleted before, as far as we know: the update will touch no row, and be counted.
    const earlier = state ? this.#takeAll() : NOTHING
    rows.set(key, { key: before, deleted: false, row, inserted: false })
    return joined(first, earlier)
  }

  /** @returns statements that come before anything later of this table */
  delete({ old }: Pick<DeleteMessage, 'old'>): Statement[] {
    const { plan } = this
    if (!plan.key) {
      if (!plan.full || old.kind !== 'O') throw keyMissing(plan)
      return [...this.take(), deleteAlike(plan, old.row)]
    }
    if (lacksKey(old.row, plan.keyPositions)) throw keyMissing(plan)
    if (plan.order !== 'lastStates') return [...this.take(), deleteRows(plan, [old.row])]
    const first = this.#index()
    const rows = this.#rows!
    const key = rowKey(old.row, plan.keyPositions)
    const state = rows.get(key)
    const earlier = state && !state.row ? this.#takeAll() : NOTHING
    if (!state?.row) rows.set(key, { key: old.row, deleted: true, row: undefined, inserted: false })
    else if (state.inserted && !state.deleted) rows.delete(key)
    else {
      state.deleted = true
      state.row = undefined
      state.inserted = false
    }
    return joined(first, earlier)
  }

  /** The statements for all that has come so far. */
  take(): Statement[] {
    const statements = this.#takeAll()
    this.#rows = undefined
    return statements
  }

  /** Looks rows up by their keys from now on. @returns statements that come before anything later of this table */
  #index(): Statement[] {
    if (this.#rows) return NOTHING
    const { keyPositions } = this.plan
    const rows = new Map<RowKey, RowState>()
    const inserts = this.#inserts
    for (const row of inserts) rows.set(rowKey(row, keyPositions), { key: row, deleted: false, row, inserted: true })
    // Two rows of one key: the target says what to think of it.
    const before = rows.size < inserts.length ? this.#takeAll() : NOTHING
    if (before.length > 0) rows.clear()
    this.#inserts = []
    this.#rows = rows
    return before
  }

  /** Deletes first, so that inserts of the same keys find them free. */
  #takeAll(): Statement[] {
    const { plan } = this
    const inserts = this.#inserts
    const deletes: Tuple[] = []
    const updates = new Map<string, KeyedUpdate[]>()
    for (const { key, deleted, row, inserted } of this.#rows?.values() ?? []) {
      if (deleted) deletes.push(key)
      if (!row) continue
      if (inserted) inserts.push(row)
      else {
        const columns = presentColumns(row)
        const alike = updates.get(columns)
        if (alike) alike.push({ key, row })
        else updates.set(columns, [{ key, row }])
      }
    }
    this.#inserts = []
    this.#rows?.clear()
    return [
      ...(deletes.length > 0 ? [deleteRows(plan, deletes)] : []),
      ...[...updates.values()].flatMap((alike) => updateRows(plan, alike)),
      ...(inserts.length > 0 ? [insertRows(plan, inserts)] : []),
    ]
  }
}

const NOTHING: Statement[] = []

function joined(first: Statement[], second: Statement[]): Statement[] {
  if (first.length === 0) return second
  return second.length === 0 ? first : [...first, ...second]
}

/** Which columns an update has values for. */
function presentColumns(row: Tuple): string {
  if (!row.unchanged) return ''
  return tupleValues(row)
    .map((value) => (value === UNCHANGED ? '0' : '1'))
    .join('')
}

/** Never guess which row is meant. */
function keyMissing({ schema, table }: TablePlan): MigrationError {
  return new MigrationError('KeyMissing', `A change of ${schema}.${table} came without the key of its row.`, {
    hint:
      `Check the replica identity of the table on the source (\\d+ ${schema}.${table}), and that the source runs a current ` +
      'minor release: those before May 2022 leave out keys that are stored out of line.',
    target: 'source',
  })
}
