import type pg from 'pg'
import { APP_USER, type ServerPair } from '../../support/servers.ts'

/** Tables of every kind that the apply treats differently. */
export const WORKLOAD_DDL = `
  create table account (id int primary key, balance bigint not null, version int not null default 0, note text);
  create table coded (id int primary key, code int not null unique, v text);
  create table later (id int primary key, code int not null unique deferrable initially deferred);
  create table alike (a int, b text); alter table alike replica identity full;
  create table full_keyed (id int primary key, v text, n numeric); alter table full_keyed replica identity full;
  create table by_index (a int not null, b int not null, v text); create unique index by_index_key on by_index (b, a);
  alter table by_index replica identity using index by_index_key;
  create table log (client int, n int, at timestamptz default clock_timestamp());
  create table measured (id int, day date, v text, primary key (id, day)) partition by range (day);
  create table measured_1 partition of measured for values from ('2024-01-01') to ('2024-01-16');
  create table measured_2 partition of measured for values from ('2024-01-16') to ('2024-02-01')`

/** Counts of committed row changes, as the progress row has to have them in the end. */
export interface Committed {
  changes: number
  transactions: number
}

/** A generator of the same numbers for the same seed (mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

/** Errors that a client of a concurrent workload meets, and goes on after. */
const EXPECTED = new Set(['40P01', '40001', '23505'])

/** Runs random transactions from several clients. */
export async function runWorkload(
  pair: ServerPair,
  database: string,
  { seed, clients, transactions }: { seed: number; clients: number; transactions: number },
): Promise<Committed> {
  const done = await Promise.all(
    Array.from({ length: clients }, (_, client) =>
      runClient(pair, database, client, random(seed * 1000 + client), transactions),
    ),
  )
  return {
    changes: done.reduce((sum, { changes }) => sum + changes, 0),
    transactions: done.reduce((sum, each) => sum + each.transactions, 0),
  }
}

async function runClient(
  pair: ServerPair,
  database: string,
  client: number,
  next: (below: number) => number,
  transactions: number,
): Promise<Committed> {
  await using app = await pair.source.connect(database)
  await app.query(`set role ${APP_USER}`)
  const committed = { changes: 0, transactions: 0 }
  for (let n = 0; n < transactions; n++) {
    let changes = 0
    const run: Run = async (sql, changesEach = 1) => {
      const { rowCount, command } = await app.query(sql)
      if (command !== 'TRUNCATE') changes += changesEach * (rowCount ?? 0)
    }
    try {
      await app.query('begin')
      await run(`insert into log values (${client}, ${n})`)
      for (let operations = next(6); operations >= 0; operations--) {
        if (next(12) === 0) {
          const before = changes
          await app.query('savepoint s')
          await operation(next, run)
          if (next(2) === 0) {
            await app.query('rollback to savepoint s')
            changes = before
          }
        } else await operation(next, run)
      }
      if (next(15) === 0) {
        await app.query('rollback')
        continue
      }
      await app.query('commit')
      committed.changes += changes
      committed.transactions++
    } catch (error) {
      await app.query('rollback')
      if (!EXPECTED.has((error as pg.DatabaseError).code ?? '')) throw error
    }
  }
  return committed
}

/** Runs a statement; `changesEach` is how many changes each of its rows gives. */
type Run = (sql: string, changesEach?: number) => Promise<void>

async function operation(next: (below: number) => number, run: Run): Promise<void> {
  const key = next(40)
  const other = next(40)
  switch (next(16)) {
    case 0:
    case 1: {
      const amount = next(100)
      await run(`insert into account values (${key}, 0), (${other} + 40, 0) on conflict do nothing`)
      const moved = `update account set balance = balance + case id when ${key} then -${amount} else ${amount} end, version = version + 1`
      await run(`${moved} where id in (${key}, ${other} + 40)`)
      return
    }
    case 2:
      return run(
        `update account set note = ${next(3) === 0 ? 'null' : `repeat(md5('${next(1000)}'), ${next(300)})`} where id = ${key}`,
      )
    case 3:
      return run(`delete from account where id = ${key} and balance = 0`)
    case 4:
      return run(`insert into coded values (${key}, ${next(60)}, 'v') on conflict do nothing`)
    case 5:
      return run(`update coded set code = ${next(60)}, v = 'w' where id = ${key}`)
    case 6:
      return run(`delete from coded where id in (${key}, ${other})`)
    case 7:
      await run(`insert into later values (${key}, ${key}), (${other} + 40, ${other} + 40) on conflict (id) do nothing`)
      return run(`update later set code = code + case when code % 2 = 0 then 1 else -1 end where id / 2 = ${key >> 1}`)
    case 8:
      return run(
        `insert into alike select ${key % 5}, ${next(3) === 0 ? 'null' : `'${next(3)}'`} from generate_series(1, ${1 + next(3)})`,
      )
    case 9:
      return run(
        `update alike set b = '${next(3)}' where ctid in (select ctid from alike where a = ${key % 5} limit ${1 + next(2)})`,
      )
    case 10:
      return run(`delete from alike where ctid in (select ctid from alike where a = ${key % 5} limit ${1 + next(4)})`)
    case 11:
      await run(`insert into full_keyed values (${key}, null, ${next(1000)}.0) on conflict do nothing`)
      return run(
        `update full_keyed set v = 'v${next(10)}', id = case when ${next(4)} = 0 then id + 1000 else id end where id = ${other}`,
      )
    case 12:
      await run(`insert into by_index values (${key % 7}, ${other}, 'v') on conflict do nothing`)
      return run(`update by_index set v = 'w${next(9)}', a = a ${next(5) === 0 ? '+ 7' : ''} where b = ${key}`)
    case 13:
      await run(`insert into measured values (${key}, '2024-01-01'::date + ${next(31)}, 'v') on conflict do nothing`)
      // To the other partition: a delete there and an insert here.
      return run(
        `update measured set day = '2024-01-01'::date + (day - '2024-01-01'::date + 16) % 31, v = 'w'
          where id = ${other} and day < '2024-01-31' and not exists (
            select from measured m where m.id = measured.id and m.day = '2024-01-01'::date + (measured.day - '2024-01-01'::date + 16) % 31)`,
        2,
      )
    case 14:
      return run(
        `update account set id = id + 100 where id = ${key} and not exists (select from account where id = ${key} + 100)`,
      )
    default:
      if (next(10) === 0) return run(`truncate ${next(2) === 0 ? 'alike' : 'full_keyed, coded'}`)
      return run(`delete from by_index where b = ${key}`)
  }
}
