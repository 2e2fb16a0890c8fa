import { expect, test } from 'vitest'
import { tableFilter } from '../../../migration/model/table-filter.ts'

test('without patterns every table is taken along', () => {
  expect(tableFilter({})('public', 't')).toBe(true)
  expect(tableFilter({ includeTables: [], excludeTables: [] })('public', 't')).toBe(true)
})

test('a star stands for any text, everything else for itself', () => {
  const filter = tableFilter({ includeTables: ['public.log_*', 'S.a+b?'] })
  expect(filter('public', 'log_2024')).toBe(true)
  expect(filter('public', 'log_')).toBe(true)
  expect(filter('public', 'blog_1')).toBe(false)
  expect(filter('other', 'log_1')).toBe(false)
  expect(filter('S', 'a+b?')).toBe(true)
  expect(filter('s', 'a+b?')).toBe(false)
  expect(filter('S', 'aab')).toBe(false)
})

test('what is excluded stays out, also when it is included', () => {
  const filter = tableFilter({ includeTables: ['public.*'], excludeTables: ['*.secret'] })
  expect(filter('public', 'secret')).toBe(false)
  expect(filter('public', 'open')).toBe(true)
})
