import { expect, test } from 'vitest'
import { isTransient, sqlState, toFailure } from '../../migration/errors.ts'

test('an error of PostgreSQL has its SQLSTATE, one of the system has none, although EPIPE looks like it', () => {
  const missing = Object.assign(new Error('relation "t" does not exist'), { code: '42P01' })
  expect(toFailure(missing)).toMatchObject({ code: '42P01', retryable: false })
  const broken = Object.assign(new Error('write EPIPE'), { code: 'EPIPE', errno: -32, syscall: 'write' })
  expect(sqlState(broken)).toBeUndefined()
  expect(isTransient(broken)).toBe(true)
  expect(toFailure(broken)).toMatchObject({ code: 'Unexpected', retryable: true })
})
