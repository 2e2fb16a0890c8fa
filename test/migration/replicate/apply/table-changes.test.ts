import { expect, test } from 'vitest'
import { planTable, type ApplyOrder, type TablePlan } from '../../../../migration/replicate/apply/table-plan.ts'
import { TableChanges } from '../../../../migration/replicate/apply/table-changes.ts'
import type { Statement } from '../../../../migration/replicate/apply/statements.ts'
import type { Relation } from '../../../../migration/replicate/pgoutput-message.ts'
import { tupleOf, UNCHANGED, type Tuple, type Value } from '../../../../migration/replicate/tuple.ts'

const COLUMNS = ['id', 'a', 'b']

function planOf({
  identity = 'd',
  order = 'lastStates',
}: { identity?: Relation['replicaIdentity']; order?: ApplyOrder } = {}): TablePlan {
  const columns = COLUMNS.map((name) => ({
    name,
    key: identity === 'f' || (identity === 'd' && name === 'id'),
    typeOid: 25,
    typeModifier: -1,
  }))
  return planTable(
    { oid: 1, schema: 's', name: 't', replicaIdentity: identity, columns },
    {
      columns: COLUMNS.map((name) => ({ name, type: 'text', generated: false, binaryOid: null, imageEqual: true })),
      uniqueIndexes: [],
      deferrable: [],
    },
    0n,
    order,
  )
}

/** The values of a binary array of text, null for NULL. */
function values(array: Buffer | string | null): (string | null)[] {
  if (!Buffer.isBuffer(array) || array.length < 20) return []
  const found: (string | null)[] = []
  for (let offset = 20; offset < array.length;) {
    const length = array.readInt32BE(offset)
    offset += 4
    found.push(length < 0 ? null : array.toString('utf8', offset, offset + length))
    offset += Math.max(0, length)
  }
  return found
}

function show(statements: Statement[]): unknown[] {
  return statements.map(({ kind, params }) => [kind, ...params.map(values)])
}

type Row = (string | Value)[]
const update = (row: Row, old?: Row): { row: Tuple; old?: { kind: 'K'; row: Tuple } } => ({
  row: tupleOf(row),
  ...(old ? { old: { kind: 'K', row: tupleOf(old) } } : {}),
})
const gone = (id: string): { old: { kind: 'K'; row: Tuple } } => ({
  old: { kind: 'K', row: tupleOf([id, null, null]) },
})

test('the last state of each row is written: deletes, updates with the same columns, inserts', () => {
  const changes = new TableChanges(planOf())
  changes.insert(tupleOf(['1', 'a', 'b']))
  changes.update(update(['1', 'c', UNCHANGED]))
  changes.update(update(['2', 'x', 'y']))
  changes.update(update(['2', 'z', UNCHANGED]))
  changes.update(update(['3', 'p', UNCHANGED]))
  changes.delete(gone('4'))
  changes.insert(tupleOf(['4', 'new', null]))
  changes.insert(tupleOf(['5', 'a', 'b']))
  changes.delete(gone('5'))
  changes.update(update(['6', 'a', 'b']))
  changes.delete(gone('6'))
  expect(show(changes.take())).toEqual([
    ['delete', ['4', '6']],
    ['update', ['z'], ['y'], ['2']],
    ['update', ['p'], ['3']],
    ['insert', ['1', '4'], ['c', 'new'], ['b', null]],
  ])
  expect(changes.take()).toEqual([])
})

test('a changed key is written by itself, after what came before', () => {
  const changes = new TableChanges(planOf())
  expect(changes.insert(tupleOf(['1', 'a', 'b']))).toEqual([])
  expect(show(changes.update(update(['2', 'a', UNCHANGED], ['1', null, null])))).toEqual([
    ['insert', ['1'], ['a'], ['b']],
    ['update', ['2'], ['a'], ['1']],
  ])
  expect(changes.take()).toEqual([])
})

test('what can not be is left for the target to say', () => {
  const changes = new TableChanges(planOf())
  changes.delete(gone('1'))
  expect(show(changes.update(update(['1', 'a', 'b'])))).toEqual([['delete', ['1']]])
  expect(show(changes.insert(tupleOf(['1', 'c', 'd'])))).toEqual([['update', ['a'], ['b'], ['1']]])
  expect(show(changes.take())).toEqual([['insert', ['1'], ['c'], ['d']]])
})

test('in the order of the source, only inserts that follow each other go together', () => {
  const changes = new TableChanges(planOf({ order: 'inOrder' }))
  changes.insert(tupleOf(['1', 'a', 'b']))
  changes.insert(tupleOf(['2', 'a', 'b']))
  expect(show(changes.update(update(['1', 'c', 'd'])))).toEqual([
    ['insert', ['1', '2'], ['a', 'a'], ['b', 'b']],
    ['update', ['c'], ['d'], ['1']],
  ])
  expect(show(changes.delete(gone('2')))).toEqual([['delete', ['2']]])
  const single = new TableChanges(planOf({ order: 'rowByRow' }))
  expect(show(single.insert(tupleOf(['1', 'a', 'b'])))).toEqual([['insert', ['1'], ['a'], ['b']]])
})

test('of the statements of a table as many are kept as a table may want, not one for each set of columns that may come', () => {
  const columns = Array.from({ length: 9 }, (_, i) => ({ name: `c${i}`, key: i === 0, typeOid: 25, typeModifier: -1 }))
  const plan = planTable(
    { oid: 1, schema: 's', name: 't', replicaIdentity: 'd', columns },
    {
      columns: columns.map(({ name }) => ({ name, type: 'text', generated: false, binaryOid: null, imageEqual: true })),
      uniqueIndexes: [],
      deferrable: [],
    },
    0n,
    'lastStates',
  )
  const changes = new TableChanges(plan)
  for (let set = 0; set < 256; set++) {
    changes.update(update(['k', ...Array.from({ length: 8 }, (_, bit) => ((set >> bit) & 1 ? UNCHANGED : 'v'))] as Row))
    expect(changes.take()).toHaveLength(1)
  }
  expect(plan.sql.size).toBeLessThanOrEqual(64)
})

test('a change without its key is never guessed', () => {
  expect(() => new TableChanges(planOf()).update(update([UNCHANGED, 'a', 'b']))).toThrow(/without the key/)
  expect(() => new TableChanges(planOf({ identity: 'n' })).delete(gone('1'))).toThrow(/without the key/)
  expect(() => new TableChanges(planOf({ identity: 'f' })).update(update(['1', 'a', 'b']))).toThrow(/without the key/)
})
