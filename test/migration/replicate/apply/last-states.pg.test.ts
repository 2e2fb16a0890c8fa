import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServerPair, type ServerPair } from '../../../support/servers.ts'
import { startFollowing } from '../following.ts'
import { random } from '../workload.ts'

const SEED = Number(process.env['PGFLEX_TEST_SEED'] ?? Date.now() % 1_000_000)
const TRANSACTIONS = 200

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(15, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** Keys that are equal with other bytes, stand anywhere, or are stored out of line; a value that an update may leave there. */
const TABLES: Record<string, { key: string; columns: string; keys: readonly string[] }> = {
  whole: { key: 'k', columns: 'k int primary key', keys: ['0', '1', '808464432', '825307441'] },
  spelled: { key: 'k', columns: 'k numeric primary key', keys: ['1', '1.0', '1.00', '10'] },
  signed: { key: 'k', columns: 'k float8 primary key', keys: [`'0'`, `'-0'`, `'NaN'`, '1'] },
  padded: { key: 'k', columns: 'w int, k char(6) not null, primary key (k)', keys: [`'a'`, `'a  '`, `'1'`, `''`] },
  spans: { key: 'k', columns: 'k interval primary key', keys: [`'1 mon'`, `'30 days'`, `'720 h'`, `'1 day'`] },
  pairs: {
    key: '(k, l)',
    columns: 'w int, l text not null, m int, k numeric not null, primary key (k, l)',
    keys: [`(1, 'a')`, `(1.0, 'a')`, `(1, '')`, `(11, 'a')`],
  },
  long: {
    key: 'k',
    columns: 'k text primary key',
    keys: ['1', '2', '3'].map((n) => `(select string_agg(md5(${n} || g::text), '') from generate_series(1, 75) g)`),
  },
}

const DDL = Object.entries(TABLES)
  .map(
    ([name, { columns }]) =>
      `create table ${name} (${columns}, v int, big text, other text);
       alter table ${name} alter big set storage external, alter other set storage external`,
  )
  .join(';')

test.each([
  ['binary values', ''],
  ['text', `; create type kind as enum ('a'); create table kinds (k kind primary key)`],
])(
  `of changes of few rows, in any legal order in one group, the last states are right, as %s (seed ${SEED})`,
  async (form, more) => {
    await using following = await startFollowing(pair, `states_${form.slice(0, 4)}`, { ddl: DDL + more })
    const { app, context } = following
    const messages: unknown[] = []
    context.log = { ...context.log, info: (message) => void messages.push(message) }
    const next = random(SEED)
    const pick = <T>(from: readonly T[]): T => from[next(from.length)]!
    const value = (): string => (next(3) === 0 ? 'null' : `repeat('${next(10)}', ${next(2) * 3000})`)
    for (let n = 0; n < TRANSACTIONS; n++) {
      await app.query('begin')
      for (let i = next(12); i >= 0; i--) {
        const [name, { key, keys }] = pick(Object.entries(TABLES))
        const target = key.startsWith('(') ? `row${key}` : key
        const where = `where ${target} = ${pick(keys)}`
        const kind = next(40)
        const sql =
          kind < 12
            ? `insert into ${name} (${key.replace(/[()]/g, '')}, v, big, other) select ${pick(keys).replace(/^\((?!select)(.*)\)$/, '$1')}, ${next(9)}, ${value()}, ${value()} on conflict do nothing`
            : kind < 20
              ? `update ${name} set v = ${next(9)} ${where}`
              : kind < 24
                ? `update ${name} set big = ${value()} ${where}`
                : kind < 26
                  ? `update ${name} set v = v, other = ${value()} ${where}`
                  : kind < 28
                    ? `update ${name} set ${key} = ${pick(keys)}, v = ${next(9)} ${where}`
                    : kind < 38
                      ? `delete from ${name} ${where}`
                      : kind < 39
                        ? `truncate ${name}`
                        : `alter table ${name} replica identity ${pick(['full', 'default', `using index ${name}_pkey`])}`
        await app.query('savepoint s')
        // Another row may have the new key.
        await app.query(sql).catch(async (error: { code?: string }) => {
          if (error.code !== '23505') throw error
          await app.query('rollback to savepoint s')
        })
      }
      await app.query(next(10) === 0 ? 'rollback' : 'commit')
    }
    await following.expectEqual()
    // Nothing else than a key is unique: a refusal that is mended by the order of the source would be a mistake.
    expect(messages).not.toContain('Changes of a table are applied in the order of the source')
    expect(await following.onTarget('select missed from pgflex.progress')).toBe('0')
  },
)
