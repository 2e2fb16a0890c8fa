import { MigrationError } from '../../errors.ts'
import { UNCHANGED, type DeleteMessage, type Tuple, type UpdateMessage, type Value } from '../pgoutput-message.ts'
import { deleteAlike, deleteRows, insertRows, updateAlike, updateRows, type Statement } from './statements.ts'
import { keyText, keyValues, type TablePlan } from './table-plan.ts'

/** What has become of one row since the last statements were made. */
interface RowState {
  key: Value[]
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
  readonly #rows = new Map<string, RowState>()
  /** Where the order of the source is kept: inserts that nothing else has followed yet. */
  #inserts: Tuple[] = []

  constructor(plan: TablePlan) {
    this.plan = plan
  }

  /** @returns statements that come before anything later of this table */
  insert(row: Tuple): Statement[] {
    const { key, order } = this.plan
    if (!key || order !== 'lastStates') {
      this.#inserts.push(row)
      return order === 'rowByRow' ? this.take() : []
    }
    const values = keyValues(key, row)
    const text = keyText(values)
    const state = this.#rows.get(text)
    // A row of that key is there already, as far as we know: the target says what to think of it.
    const before = state?.row ? this.take() : []
    if (state && !state.row) Object.assign(state, { row, inserted: true })
    else this.#rows.set(text, { key: values, deleted: false, row, inserted: true })
    return before
  }

  /** @returns statements that come before anything later of this table */
  update({ row, old }: Pick<UpdateMessage, 'row' | 'old'>): Statement[] {
    const { plan } = this
    if (!plan.key) {
      if (!plan.full || old?.kind !== 'O') throw keyMissing(plan)
      return [...this.take(), updateAlike(plan, old.row, row)]
    }
    const values = keyValues(plan.key, old?.row ?? row)
    if (values.includes(UNCHANGED)) throw keyMissing(plan)
    const text = keyText(values)
    const next = keyValues(plan.key, row).map((value, i) => (value === UNCHANGED ? values[i]! : value))
    const moves = old !== undefined && keyText(next) !== text
    if (moves || plan.order !== 'lastStates') return [...this.take(), updateRows(plan, [{ key: values, row }])]
    const state = this.#rows.get(text)
    // Deleted before, as far as we know: the update will touch no row, and be counted.
    const before = state && !state.row ? this.take() : []
    if (state?.row) state.row = merge(state.row, row)
    else this.#rows.set(text, { key: values, deleted: false, row, inserted: false })
    return before
  }

  /** @returns statements that come before anything later of this table */
  delete({ old }: Pick<DeleteMessage, 'old'>): Statement[] {
    const { plan } = this
    if (!plan.key) {
      if (!plan.full || old.kind !== 'O') throw keyMissing(plan)
      return [...this.take(), deleteAlike(plan, old.row)]
    }
    const values = keyValues(plan.key, old.row)
    if (values.includes(UNCHANGED)) throw keyMissing(plan)
    if (plan.order !== 'lastStates') return [...this.take(), deleteRows(plan, [values])]
    const text = keyText(values)
    const state = this.#rows.get(text)
    const before = state && !state.row ? this.take() : []
    if (!state?.row) this.#rows.set(text, { key: values, deleted: true, row: undefined, inserted: false })
    else if (state.inserted && !state.deleted) this.#rows.delete(text)
    else Object.assign(state, { deleted: true, row: undefined, inserted: false })
    return before
  }

  /** The statements for all that has come so far: deletes first, so that inserts of the same keys find them free. */
  take(): Statement[] {
    const { plan } = this
    const states = [...this.#rows.values()]
    const inserts = this.#inserts
    this.#rows.clear()
    this.#inserts = []
    const deletes: Value[][] = []
    const updates = new Map<string, RowState[]>()
    for (const state of states) {
      if (state.deleted) deletes.push(state.key)
      if (!state.row) continue
      if (state.inserted) inserts.push(state.row)
      else {
        const columns = presentColumns(state.row)
        const alike = updates.get(columns)
        if (alike) alike.push(state)
        else updates.set(columns, [state])
      }
    }
    return [
      ...(deletes.length > 0 ? [deleteRows(plan, deletes)] : []),
      ...[...updates.values()].map((alike) =>
        updateRows(
          plan,
          alike.map(({ key, row }) => ({ key, row: row! })),
        ),
      ),
      ...(inserts.length > 0 ? [insertRows(plan, inserts)] : []),
    ]
  }
}

/** Which columns an update has values for. */
function presentColumns(row: Tuple): string {
  return row.includes(UNCHANGED) ? row.map((value) => (value === UNCHANGED ? '0' : '1')).join('') : ''
}

function merge(before: Tuple, after: Tuple): Tuple {
  return after.map((value, i) => (value === UNCHANGED ? before[i]! : value))
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
