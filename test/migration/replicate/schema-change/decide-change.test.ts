import { expect, test } from 'vitest'
import { decideChange, type ChangeDecision } from '../../../../migration/replicate/schema-change/decide-change.ts'
import type {
  SourceAttribute,
  SourceDefinition,
} from '../../../../migration/replicate/schema-change/source-definition.ts'
import type { TableShape } from '../../../../migration/replicate/schema-change/table-shape.ts'

/** The transaction that is read; those before it have lower numbers. */
const XID = 100
const INT = 23
const TEXT = 25

interface Attribute extends Partial<SourceAttribute> {
  attnum: number
  name: string
}

/** What the catalog says of an attribute; one without a name has been dropped. */
function attribute(given: Attribute): SourceAttribute {
  const dropped = given.name === ''
  return {
    dropped,
    xid: 50,
    typeOid: dropped ? 0 : INT,
    typeModifier: -1,
    type: dropped ? '' : 'integer',
    notNull: false,
    expression: null,
    identity: '',
    generated: '',
    inherited: false,
    collation: null,
    ...given,
  }
}

function decide(
  target: string[],
  relation: string[],
  attributes: Attribute[],
  { filenode = 1, xid = XID as number | undefined, shape = {} as Partial<TableShape> } = {},
): ChangeDecision {
  const [name, type] = [(text: string) => text.split(':')[0]!, (text: string) => (text.endsWith(':text') ? TEXT : INT)]
  const source: SourceDefinition = {
    oid: 1,
    schema: 'public',
    name: 't',
    filenode,
    attributes: attributes.map(attribute),
    parentColumns: null,
  }
  return decideChange({
    relation: {
      oid: 1,
      columns: relation.map((text) => ({ name: name(text), key: false, typeOid: type(text), typeModifier: -1 })),
    },
    types: relation.map((text) => (type(text) === TEXT ? 'text' : 'integer')),
    target: {
      columns: target.map((text) => ({
        name: name(text),
        type: type(text) === TEXT ? 'text' : 'integer',
        notNull: false,
        generated: false,
        inherited: false,
      })),
      shape: {
        tableOid: 1,
        filenode: 1,
        attributes: target.length,
        columns: target.map((text, i) => ({ name: name(text), attnum: i + 1, typeOid: type(text), typeModifier: -1 })),
        generated: [],
        ...shape,
      },
      root: undefined,
      hasChildren: false,
      deferrable: [],
    },
    source,
    xid,
  })
}

const ID = { attnum: 1, name: 'id' }
const steps = (decision: ChangeDecision): unknown =>
  decision.kind === 'steps'
    ? decision.steps.map((step) => [step.kind, step.column, ...(step.kind === 'rename' ? [step.to] : [])])
    : decision.kind

test('nothing is done where nothing has changed, and nothing is written down again', () => {
  expect(decide(['id', 'a'], ['id', 'a'], [ID, { attnum: 2, name: 'a' }])).toEqual({ kind: 'same' })
})

test('rows that were written anew are noted', () => {
  const decision = decide(['id'], ['id'], [ID], { filenode: 2 })
  expect(decision).toMatchObject({ kind: 'same', shape: { filenode: 2 } })
})

test('as long as the catalog has later columns, what it says of the rows is not noted', () => {
  const decision = decide(['id', 'b'], ['id'], [ID, { attnum: 2, name: '' }, { attnum: 3, name: 'late' }], {
    filenode: 2,
  })
  expect(decision).toMatchObject({ kind: 'steps', shape: { filenode: 1, attributes: 2 } })
})

test('a column that is gone by name and there by number was renamed', () => {
  const decision = decide(['id', 'a'], ['id', 'b'], [ID, { attnum: 2, name: 'b' }])
  expect(steps(decision)).toEqual([['rename', 'a', 'b']])
  expect(decision).toMatchObject({ shape: { columns: [{}, { name: 'b', attnum: 2 }] } })
})

test('a column that was renamed once more since is the one that is left', () => {
  expect(steps(decide(['id', 'a'], ['id', 'b'], [ID, { attnum: 2, name: 'c' }]))).toEqual([['rename', 'a', 'b']])
})

test('of two such columns it is not known which is which', () => {
  const attributes = [ID, { attnum: 2, name: 'x' }, { attnum: 3, name: 'y' }]
  expect(decide(['id', 'a', 'b'], ['id', 'c', 'd'], attributes)).toMatchObject({ kind: 'refused' })
})

test('a column is dropped when its number says so', () => {
  expect(steps(decide(['id', 'a'], ['id'], [ID, { attnum: 2, name: '' }]))).toEqual([['drop', 'a']])
})

test('a drop and an addition at once are no renaming, if the drop is not later than what is read', () => {
  const attributes = (xid: number): Attribute[] => [ID, { attnum: 2, name: '', xid }, { attnum: 3, name: 'b', xid }]
  for (const xid of [XID - 1, XID]) {
    expect(steps(decide(['id', 'a'], ['id', 'b'], attributes(xid)))).toEqual([
      ['drop', 'a'],
      ['add', 'b'],
    ])
  }
  expect(decide(['id', 'a'], ['id', 'b'], attributes(XID + 1))).toMatchObject({
    kind: 'refused',
    why: expect.stringContaining('dropped or renamed'),
  })
  // Numbers go round.
  expect(steps(decide(['id', 'a'], ['id', 'b'], attributes(2 ** 32 - 5), { xid: 3 }))).toHaveLength(2)
})

test('a column that was dropped may have been renamed before, when nothing else has its new name', () => {
  expect(decide(['id', 'a'], ['id', 'b'], [ID, { attnum: 2, name: '' }])).toMatchObject({ kind: 'refused' })
  // Not into another type.
  const attributes = [ID, { attnum: 2, name: '' }, { attnum: 3, name: '', xid: XID + 1 }]
  expect(steps(decide(['id', 'a'], ['id', 'b:text'], attributes))).toEqual([
    ['drop', 'a'],
    ['add', 'b'],
  ])
})

test('a name that another column has now is never trusted', () => {
  const attributes = [ID, { attnum: 2, name: '', xid: 10 }, { attnum: 3, name: 'a', xid: 10 }]
  expect(decide(['id', 'a'], ['id', 'a'], attributes)).toMatchObject({ kind: 'refused', mendable: false })
})

test('names that have changed places show in the order of the columns', () => {
  const gone = [
    { attnum: 1, name: 'x' },
    { attnum: 2, name: 'y' },
  ]
  expect(decide(['a', 'b'], ['b', 'a'], gone)).toMatchObject({ kind: 'refused', mendable: false })
})

test('a table that has got the name of another one is not taken for it', () => {
  const decision = decide(['id'], ['id'], [ID], { shape: { tableOid: 7 } })
  expect(decision).toMatchObject({ kind: 'refused', mendable: false })
})

test('a column is added with the value that the rows have, if they all have the same', () => {
  expect(decide(['id'], ['id', 'x'], [ID, { attnum: 2, name: 'x', missing: '7' }], { filenode: 2 })).toMatchObject({
    steps: [{ kind: 'add', column: 'x', missing: '7' }],
  })
  expect(decide(['id'], ['id', 'x'], [ID, { attnum: 2, name: 'x', expression: '7' }])).toMatchObject({
    steps: [{ kind: 'add', column: 'x', missing: undefined }],
  })
  expect(decide(['id'], ['id', 'x'], [ID, { attnum: 2, name: 'x' }], { filenode: 2 })).toMatchObject({
    kind: 'refused',
    why: expect.stringContaining('written anew'),
  })
  expect(decide(['id'], ['id', 'x'], [ID, { attnum: 2, name: 'x', typeOid: TEXT }])).toMatchObject({ kind: 'refused' })
})

test('of columns that were added since, the first ones are those that are read', () => {
  const [x, y, z] = [2, 3, 4].map((attnum, i) => ({ attnum, name: 'xyz'[i]! }))
  expect(steps(decide(['id'], ['id', 'x'], [ID, x!, y!, z!]))).toEqual([['add', 'x']])
  // x was dropped later, and y may be what was called x only if x had been dropped before.
  const later = { attnum: 2, name: '', xid: XID + 1 }
  expect(steps(decide(['id'], ['id', 'x'], [ID, later, y!, z!]))).toEqual([['add', 'x']])
  expect(decide(['id'], ['id', 'x'], [ID, { ...later, xid: XID - 1 }, y!, z!])).toMatchObject({ kind: 'refused' })
  expect(steps(decide(['id'], ['id', 'y'], [ID, { ...later, xid: XID - 1 }, y!, z!]))).toEqual([['add', 'y']])
  expect(decide(['id'], ['id', 'y'], [ID, later, y!, z!])).toMatchObject({ kind: 'refused' })
  // Renamed since, and no other one that it could be.
  expect(steps(decide(['id'], ['id', 'old'], [ID, x!]))).toEqual([['add', 'old']])
})

test('what the user has made on the target is taken as it is', () => {
  const shape = { attributes: 1, columns: [{ name: 'id', attnum: 1, typeOid: INT, typeModifier: -1 }] }
  const decision = decide(['id', 'x'], ['id', 'x'], [ID, { attnum: 2, name: 'x' }], { filenode: 9, shape })
  expect(decision).toMatchObject({ kind: 'same', shape: { filenode: 9, columns: [{}, { name: 'x', attnum: 2 }] } })
})

test('a table that is gone from the source is applied as long as it can be', () => {
  const input = { ...inputOf(['id', 'a'], ['id', 'a']), source: undefined }
  expect(decideChange(input)).toEqual({ kind: 'same' })
  expect(decideChange({ ...inputOf(['id', 'a'], ['id']), source: undefined })).toEqual({ kind: 'dropped' })
})

function inputOf(target: string[], relation: string[]): Parameters<typeof decideChange>[0] {
  const column = (name: string): { name: string; typeOid: number; typeModifier: number } => ({
    name,
    typeOid: INT,
    typeModifier: -1,
  })
  return {
    relation: { oid: 1, columns: relation.map((name) => ({ ...column(name), key: false })) },
    types: relation.map(() => 'integer'),
    target: {
      columns: target.map((name) => ({ name, type: 'integer', notNull: false, generated: false, inherited: false })),
      shape: {
        tableOid: 1,
        filenode: 1,
        attributes: target.length,
        columns: target.map((name, i) => ({ ...column(name), attnum: i + 1 })),
        generated: [],
      },
      root: undefined,
      hasChildren: false,
      deferrable: [],
    },
    source: undefined,
    xid: XID,
  }
}
