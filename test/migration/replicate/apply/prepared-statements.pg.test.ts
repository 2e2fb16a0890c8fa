import { afterAll, beforeAll, expect, test } from 'vitest'
import { sendWithoutWaiting } from '../../../../migration/replicate/apply/apply-session.ts'
import { PreparedStatements } from '../../../../migration/replicate/apply/prepared-statements.ts'
import {
  createTargetDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
} from '../../../support/servers.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
  await createTargetDatabase(pair, 'prepared')
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

test('a statement is prepared once, the least recently used one is forgotten, and errors leave the others as they are', async () => {
  await using migration = await createTestMigration(pair, 'prepared')
  await using session = await migration.context.target('test')
  sendWithoutWaiting(session)
  const prepared = new PreparedStatements(session, 3)
  const ask = async (number: number): Promise<unknown> =>
    Object.values((await prepared.query(`select ${number} + $1::int`, ['1'])).rows[0] as object)[0]
  const kept = async (): Promise<string[]> =>
    (await session.query<{ statement: string }>('select statement from pg_prepared_statements order by statement')).rows
      .map(({ statement }) => statement.slice(7, 8))
      .toSorted()

  expect(await Promise.all([1, 2, 3, 1, 2].map(ask))).toEqual(['2', '3', '4', '2', '3'])
  expect(await kept()).toEqual(['1', '2', '3'])
  // 3 has not been used for longest.
  expect(await ask(4)).toBe('5')
  expect(await kept()).toEqual(['1', '2', '4'])

  await session.query('begin')
  const results = await Promise.allSettled([
    prepared.query('select 1 / $1::int', ['0']),
    ask(5),
    ask(1),
    session.query('rollback'),
  ])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected', 'fulfilled'])
  expect(await Promise.all([5, 1, 2, 3, 4, 5].map(ask))).toEqual(['6', '2', '3', '4', '5', '6'])
})

test('a statement that was never prepared is forgotten without harm to the transaction that makes room for another', async () => {
  await using migration = await createTestMigration(pair, 'prepared')
  await using session = await migration.context.target('test')
  sendWithoutWaiting(session)
  const prepared = new PreparedStatements(session, 1)
  await expect(prepared.query('select 1 from missing where 1 = $1::int', ['1'])).rejects.toThrow(/missing/)
  const results = await Promise.all([
    session.query('begin'),
    prepared.query('select 2 + $1::int as sum', ['1']),
    prepared.query('select 3 + $1::int as sum', ['1']),
    session.query('commit'),
  ])
  expect(results.map(({ command }) => command)).toEqual(['BEGIN', 'SELECT', 'SELECT', 'COMMIT'])
  const { rows } = await session.query<{ statement: string }>('select statement from pg_prepared_statements')
  expect(rows).toEqual([{ statement: 'select 3 + $1::int as sum' }])
})
