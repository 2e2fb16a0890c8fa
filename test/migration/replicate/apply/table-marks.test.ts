import { expect, test } from 'vitest'
import { hasIntegerKey, integerKey } from '../../../../migration/replicate/apply/integer-key.ts'
import { ChangeMarks } from '../../../../migration/replicate/apply/change-marks.ts'
import { BLOCK, DENSE } from '../../../../migration/replicate/apply/integer-blocks.ts'
import { TableMarks } from '../../../../migration/replicate/apply/table-marks.ts'
import { planTable, type TablePlan } from '../../../../migration/replicate/apply/table-plan.ts'
import type { Statement } from '../../../../migration/replicate/apply/statements.ts'
import type { RowMessage } from '../../../../migration/replicate/pgoutput-message.ts'
import { tupleOf, type Value } from '../../../../migration/replicate/tuple.ts'

const TABLE = { id: 7, schema: 's', name: 't', marks: 0 }

/** A table with the columns a, b and v. */
function planOf(type: string, key: string[] = ['a'], binary = false): TablePlan {
  const names = ['a', 'b', 'v']
  return planTable(
    {
      oid: 1,
      schema: 's',
      name: 't',
      replicaIdentity: key.length > 0 ? 'd' : 'f',
      columns: names.map((name) => ({
        name,
        key: key.length === 0 || key.includes(name),
        typeOid: 20,
        typeModifier: -1,
      })),
    },
    {
      columns: names.map((name) => ({ name, type, generated: false, binaryOid: binary ? 20 : null, imageEqual: true })),
      uniqueIndexes: [],
      deferrable: [],
    },
    0n,
    'lastStates',
    binary,
  )
}

type Row = (string | Value)[]
const insert = (row: Row): RowMessage => ({ kind: 'insert', relation: 1, row: tupleOf(row), bytes: 0 })
const remove = (row: Row): RowMessage => ({
  kind: 'delete',
  relation: 1,
  old: { kind: 'K', row: tupleOf(row) },
  bytes: 0,
})
const update = (row: Row, old?: Row): RowMessage => ({
  kind: 'update',
  relation: 1,
  row: tupleOf(row),
  ...(old ? { old: { kind: 'K' as const, row: tupleOf(old) } } : {}),
  bytes: 0,
})

/** What is marked: numbers of keys, and blocks. */
function taken(statements: Statement[]): { keys: number; blocks: string; whole: boolean } {
  const of = (part: string): Statement[] => statements.filter(({ sql }) => sql.includes(part))
  return {
    keys: of('marks, keys').reduce((sum, { params }) => sum + Number(params[1]), 0),
    blocks: of('marks, blocks')
      .map(({ params }) => params[2])
      .join(),
    whole: of('set whole = true').length > 0,
  }
}

const NOTHING = { keys: 0, blocks: '', whole: false }

test('a row is marked once, whatever happens to it and however often', () => {
  const marks = new TableMarks(TABLE, planOf('text'))
  for (const message of [insert(['x', '1', 'v']), update(['x', '1', 'w']), remove(['x', '1', null])]) {
    marks.change(message)
  }
  expect(taken(marks.take())).toEqual({ ...NOTHING, keys: 1 })
  marks.change(update(['x', '1', 'v']))
  expect(taken(marks.take())).toEqual(NOTHING)
})

test('an update that moves a row marks both keys, also where a part of the key was not sent again', () => {
  const marks = new TableMarks(TABLE, planOf('text', ['a', 'b']))
  marks.change(update(['new', 'b', 'v'], ['old', 'b', null]))
  expect(taken(marks.take())).toEqual({ ...NOTHING, keys: 2 })
})

test('neighbouring integers become blocks, also across transactions; keys that are far from each other do not', () => {
  const marks = new TableMarks(TABLE, planOf('bigint'))
  for (let i = 0; i < 3 * BLOCK; i++) marks.change(insert([String(i), '1', 'v']))
  for (let i = 10; i < 15; i++) marks.change(insert([String(i * BLOCK), '1', 'v']))
  expect(taken(marks.take())).toEqual({ keys: 5, blocks: '{0,1,2}', whole: false })
  let keys = 0
  for (let i = 0; i < BLOCK; i++) {
    marks.change(insert([String(-1 - i), '1', 'v']))
    keys += taken(marks.take()).keys
  }
  expect(keys).toBe(DENSE - 1)
})

test('beyond so many marks, and where rows have no key, the table is marked whole, once', () => {
  const marks = new TableMarks({ ...TABLE, marks: 3 }, planOf('text'), 5)
  marks.change(insert(['x', '1', 'v']))
  expect(taken(marks.take())).toEqual({ ...NOTHING, keys: 1 })
  for (const key of ['y', 'z']) marks.change(insert([key, '1', 'v']))
  expect(taken(marks.take())).toEqual({ ...NOTHING, whole: true })
  marks.change(insert(['u', '1', 'v']))
  expect(marks.take()).toEqual([])
  const keyless = new TableMarks(TABLE, planOf('text', []))
  keyless.change(insert(['x', '1', 'v']))
  expect(taken(keyless.take())).toEqual({ ...NOTHING, whole: true })
  keyless.change(insert(['x', '1', 'v']))
  expect(keyless.take()).toEqual([])
})

test('nothing is marked in tables that are not compared; a new comparison of a table has marks of its own', () => {
  const marks = new ChangeMarks()
  const plan = planOf('text')
  marks.change(plan, insert(['x', '1', 'v']))
  expect(marks.take()).toEqual([])
  marks.add([TABLE])
  marks.change(plan, insert(['x', '1', 'v']))
  expect(taken(marks.take())).toEqual({ ...NOTHING, keys: 1 })
  marks.add([{ ...TABLE, id: 8 }])
  marks.change(plan, insert(['x', '1', 'v']))
  const statements = marks.take()
  expect(taken(statements)).toEqual({ ...NOTHING, keys: 1 })
  expect(statements.every(({ params }) => params[0] === '8')).toBe(true)
  // What the columns with the same bytes are of is another key.
  marks.change(planOf('text', ['a', 'b']), insert(['x', '1', 'v']))
  expect(taken(marks.take()).keys).toBe(1)
  marks.truncate([plan])
  expect(taken(marks.take())).toEqual({ ...NOTHING, whole: true })
})

test('an integer key is read exactly, as text or binary, or not at all', () => {
  const text = planOf('bigint')
  expect([text, planOf('numeric'), planOf('bigint', ['a', 'b'])].map(hasIntegerKey)).toEqual([true, false, false])
  const asText = (value: string): number | undefined => integerKey(tupleOf([value, '1', 'v']), text)
  expect(['0', '-1', '42', '999999999999999'].map(asText)).toEqual([0, -1, 42, 999_999_999_999_999])
  expect(['9223372036854775807', '', '-', '1e3'].map(asText)).toEqual([undefined, undefined, undefined, undefined])
  const binary = planOf('bigint', ['a'], true)
  const asBinary = (value: bigint, bytes: 2 | 4 | 8): number | undefined => {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64BE(value)
    return integerKey(tupleOf([buffer.subarray(8 - bytes), 'b', 'v']), binary)
  }
  expect([asBinary(-5n, 2), asBinary(-70_000n, 4), asBinary(-(2n ** 40n), 8)]).toEqual([-5, -70_000, -(2 ** 40)])
  expect([asBinary(2n ** 53n - 1n, 8), asBinary(2n ** 60n, 8)]).toEqual([2 ** 53 - 1, undefined])
})
