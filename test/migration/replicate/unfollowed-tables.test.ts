import { expect, test } from 'vitest'
import { compareTables } from '../../../migration/replicate/unfollowed-tables.ts'

const table = (name: string, oid: string, unlogged = false): Parameters<typeof compareTables>[0]['tables'][number] => ({
  schema: 's',
  name,
  oid,
  unlogged,
})
const everything = (): boolean => true

test.each([
  ['copied and published', [table('t', '1')], ['t'], ['1'], [], []],
  ['copied and unlogged', [table('t', '1', true)], ['t'], [], [], []],
  ['new and unlogged', [table('t', '1', true)], [], [], ['s.t'], []],
  ['new', [table('t', '1')], [], [], ['s.t'], []],
  ['new, and published by somebody', [table('t', '1')], [], ['1'], ['s.t'], []],
  ['made anew under its name', [table('t', '2')], ['t'], ['1'], ['s.t'], []],
  ['renamed', [table('u', '1')], ['t'], ['1'], ['s.u'], ['s.t']],
  ['dropped', [], ['t'], [], [], ['s.t']],
])('a table that is %s', (_, tables, copied, published, added, dropped) => {
  expect(
    compareTables({
      tables,
      copied: copied.map((name) => ({ schema: 's', name })),
      published: new Set(published),
      filter: everything,
    }),
  ).toEqual({ added, dropped })
})

test('tables that were left out are not looked for', () => {
  const [tables, copied] = [[table('t', '1'), table('left', '2')], [{ schema: 's', name: 't' }]]
  expect(compareTables({ tables, copied, published: new Set(['1']), filter: (_, name) => name !== 'left' })).toEqual({
    added: [],
    dropped: [],
  })
})
