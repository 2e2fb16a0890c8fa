import { expect, test } from 'vitest'
import { copyFailure } from '../../../migration/load/copy-failure.ts'

const TABLE = { schema: 'public', name: 't' }

function databaseError(fields: { message: string; code: string; detail?: string; where?: string }): Error {
  return Object.assign(new Error(fields.message), fields)
}

test.each([
  [
    {
      message: 'invalid input syntax for type integer: "top\nsecret"',
      code: '22P02',
      where: 'COPY t, line 3, column a: "top secret"',
    },
    'invalid input syntax for type integer, at COPY t, line 3, column a (SQLSTATE 22P02)',
  ],
  [
    {
      message: 'value "99999" is out of range for type smallint',
      code: '22003',
      where: 'COPY t, line 1, column a: "99999"',
    },
    'value is out of range for type smallint, at COPY t, line 1, column a (SQLSTATE 22003)',
  ],
  [
    {
      message: 'new row for relation "t" violates check constraint "t_check"',
      code: '23514',
      detail: 'Failing row contains (secret).',
      where: 'COPY t, line 7: "secret"',
    },
    'new row for relation "t" violates check constraint "t_check", at COPY t, line 7 (SQLSTATE 23514)',
  ],
  [{ message: 'permission denied for table t', code: '42501' }, 'permission denied for table t (SQLSTATE 42501)'],
])('the reason says where, and shows no row data: %o', (error, reason) => {
  const failure = copyFailure('target', TABLE, databaseError(error))
  expect(failure.message).toBe(`Copying public.t failed on the target: ${reason}`)
  expect(failure.retryable).toBe(false)
})

test('a lost connection is worth another try', () => {
  expect(copyFailure('source', TABLE, new Error('Connection terminated unexpectedly')).retryable).toBe(true)
})
