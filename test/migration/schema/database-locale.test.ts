import { expect, test } from 'vitest'
import { localeChoices, type DatabaseLocale } from '../../../migration/schema/database-locale.ts'

const LIBC: DatabaseLocale = {
  encoding: 'UTF8',
  collate: 'en_US.UTF-8',
  ctype: 'en_US.UTF-8',
  provider: 'c',
  locale: null,
  icuRules: null,
}

const clauses = (locale: DatabaseLocale, major: number): string[] =>
  localeChoices(locale, major).map((choice) => choice.clauses)

test('a libc locale is tried in both spellings, then sorting by code points', () => {
  expect(clauses(LIBC, 14)).toEqual([
    `lc_collate 'en_US.UTF-8' lc_ctype 'en_US.UTF-8'`,
    `lc_collate 'en_US.utf8' lc_ctype 'en_US.utf8'`,
    `lc_collate 'C.UTF-8' lc_ctype 'C.UTF-8'`,
    `lc_collate 'C' lc_ctype 'C'`,
  ])
})

test('from PostgreSQL 15 on the provider is said, as the template may have another one', () => {
  expect(clauses(LIBC, 17).every((text) => text.endsWith(' locale_provider libc'))).toBe(true)
})

test('C.UTF-8 is not offered to another encoding', () => {
  expect(clauses({ ...LIBC, encoding: 'LATIN1', collate: 'C', ctype: 'C' }, 14)).toEqual([
    `lc_collate 'C' lc_ctype 'C'`,
  ])
})

test('an ICU locale is kept where the target has the provider', () => {
  const icu: DatabaseLocale = { ...LIBC, provider: 'i', locale: 'de-u-co-phonebk', icuRules: '&a < b' }
  expect(clauses(icu, 17)[0]).toBe(
    `lc_collate 'en_US.UTF-8' lc_ctype 'en_US.UTF-8' locale_provider icu icu_locale 'de-u-co-phonebk' icu_rules '&a < b'`,
  )
  expect(clauses(icu, 14)[0]).toBe(`lc_collate 'en_US.UTF-8' lc_ctype 'en_US.UTF-8'`)
})

test('the builtin provider is kept from PostgreSQL 17 on', () => {
  const builtin: DatabaseLocale = { ...LIBC, provider: 'b', locale: 'C.UTF-8' }
  expect(clauses(builtin, 17)[0]).toMatch(/locale_provider builtin builtin_locale 'C.UTF-8'$/)
  expect(clauses(builtin, 16)[0]).not.toMatch(/builtin/)
})
