import { expect, test } from 'vitest'
import { formatLine } from '../../host/log.ts'
import { errorStack, sanitize } from '../../host/sanitize.ts'

test.for([
  ['connect postgres://app:s3cret@db:5432/x failed', 'connect postgres://[Hidden Credential]@db:5432/x failed'],
  ['redis://:p@ss/w@cache', 'redis://[Hidden Credential]@cache'],
  ['Server=db;Password=s3cret;Port=1', 'Server=db;[Hidden Credential];Port=1'],
  ["password = 's3 cret' host=db", '[Hidden Credential] host=db'],
  ['GET /x?code=s3cret&a=1', 'GET /x?code=[Hidden Credential]&a=1'],
  ['{"password":"s3\\"cret","user":"me"}', '{"password":"[Hidden Credential]","user":"me"}'],
  ['Authorization: Bearer abc.def', 'Authorization: Bearer [Hidden Credential]'],
  ['PGPASSWORD=s3cret psql', '[Hidden Credential] psql'],
  ['AccountKey=abc==;x', '[Hidden Credential];x'],
] as const)('%s loses its credential', ([text, clean]) => {
  expect(sanitize(text)).toBe(clean)
})

test.for([
  'SQLSTATE code=42P01',
  'duplicate key value violates "t_pkey"',
  'Key (id)=(5) already exists',
  'http://localhost:7071/a',
])('%s stays as it is', (text) => {
  expect(sanitize(text)).toBe(text)
})

test('a log line is one line, without credentials', () => {
  const line = formatLine('warn', 'two\nlines', { error: 'pwd=x', attempt: 2, absent: undefined }, new Date(0))
  expect(line).toBe('1970-01-01T00:00:00.000Z warn two\\nlines error="[Hidden Credential]" attempt=2\n')
})

test('an error is shown with its causes', () => {
  const error = new Error('outer', { cause: new Error('inner, token=abc') })
  expect(errorStack(error)).toMatch(/^Error: outer[^]*Caused by: Error: inner, \[Hidden Credential\]/)
})
