import { expect, test } from 'vitest'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'

test('names are legal, stable, and different for each database of each migration', () => {
  const names = ['a', 'A', 'a"b', 'ü'.repeat(31), 'x'.repeat(63), 'x'.repeat(62), ''].flatMap((database) =>
    ['one', 'two'].map((key) => sourceObjects(key, database)),
  )
  for (const { slot, publication, insertsPublication } of names) {
    for (const name of [slot, publication, insertsPublication]) expect(name).toMatch(/^[a-z0-9_]{1,63}$/)
    expect(insertsPublication).not.toBe(publication)
  }
  expect(new Set(names.map(({ slot }) => slot)).size).toBe(names.length)
  expect(sourceObjects('one', 'a')).toEqual(sourceObjects('one', 'a'))
})
