import { expect, test } from 'vitest'
import { copyFormat, type ServerFacts } from '../../../migration/load/copy-format.ts'
import type { SourceColumn, SourceTable } from '../../../migration/load/tables.ts'

const OLD: ServerFacts = { major: 13, encoding: 'UTF8' }
const NEW: ServerFacts = { major: 17, encoding: 'UTF8' }

function table(...columns: Partial<SourceColumn>[]): Pick<SourceTable, 'columns'> {
  return {
    columns: columns.map((column, i) => ({
      name: `c${i}`,
      type: '',
      builtin: 'int4',
      generated: false,
      identity: false,
      ...column,
    })),
  }
}

const PLAIN = table({ builtin: 'int8' }, { builtin: 'text' }, { builtin: '_timestamptz' }, { builtin: 'jsonb' })

test('safe built-in types travel in binary, arrays of them too', () => {
  expect(copyFormat(PLAIN, PLAIN, OLD, NEW)).toBe('binary')
  expect(copyFormat(table(), table(), OLD, NEW)).toBe('binary')
  const newer = table({ builtin: 'jsonpath' }, { builtin: '_nummultirange' }, { builtin: 'xid8' })
  expect(copyFormat(newer, newer, { ...OLD, major: 14 }, NEW)).toBe('binary')
})

test.each(['regclass', 'xml', 'tsquery', '_regtype', null])('%s makes the whole table text', (builtin) => {
  const mixed = table({ builtin: 'int4' }, { builtin })
  expect(copyFormat(mixed, mixed, OLD, NEW)).toBe('text')
})

test('a generated column is not copied and does not count', () => {
  const derived = table({ builtin: 'int4' }, { builtin: 'xml', generated: true })
  expect(copyFormat(derived, derived, OLD, NEW)).toBe('binary')
})

test('text when the target has another type, or no such table or column', () => {
  expect(copyFormat(table({ builtin: 'int4' }), table({ builtin: 'int8' }), OLD, NEW)).toBe('text')
  expect(copyFormat(table({ builtin: 'int4' }), undefined, OLD, NEW)).toBe('text')
  expect(copyFormat(table({ name: 'a' }), table({ name: 'b' }), OLD, NEW)).toBe('text')
})

test('text between different encodings, from bytes of no known encoding, and to an older server', () => {
  expect(copyFormat(PLAIN, PLAIN, { ...OLD, encoding: 'LATIN1' }, NEW)).toBe('text')
  expect(copyFormat(PLAIN, PLAIN, { ...OLD, encoding: 'SQL_ASCII' }, { ...NEW, encoding: 'SQL_ASCII' })).toBe('text')
  expect(copyFormat(PLAIN, PLAIN, NEW, OLD)).toBe('text')
  expect(copyFormat(PLAIN, PLAIN, NEW, NEW)).toBe('binary')
})
