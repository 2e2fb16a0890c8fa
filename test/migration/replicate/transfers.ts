import type pg from 'pg'
import { APP_USER, type ServerPair } from '../../support/servers.ts'
import { random } from './workload.ts'

const ACCOUNTS = 40
const OPENING_BALANCE = 1_000
const TOTAL = ACCOUNTS * OPENING_BALANCE

/**
 * Money that only moves. Of a client's transfers each comes after the one before; a receipt has no key, so that
 * one that comes twice is there twice.
 */
export const TRANSFERS_DDL = `
  create table account (id int primary key, balance bigint not null);
  create table ledger (client int, n int, line int, debit int not null, credit int not null, amount int not null,
                       primary key (client, n, line));
  create table receipt (client int not null, n int not null, lines int not null);
  create table counter (client int primary key, n int not null)`

/** The first transaction: every account has its money, every client has moved none. */
export async function openAccounts(app: pg.Client, clients: number): Promise<void> {
  await app.query(
    `begin;
     insert into account select g, ${OPENING_BALANCE} from generate_series(1, ${ACCOUNTS}) g;
     insert into counter select g, 0 from generate_series(1, ${clients}) g;
     commit`,
  )
}

/** A client that moves money until it is told to stop, whatever happens to its server. */
export interface TransferClient {
  client: number
  /** The last transfer whose commit was answered: it is durable, by PostgreSQL's word. */
  readonly acknowledged: number
  stop(): void
  done: Promise<void>
}

export function startTransfers(pair: ServerPair, database: string, client: number, seed: number): TransferClient {
  const next = random(seed)
  let stopped = false
  let acknowledged = 0
  const run = async (): Promise<void> => {
    await using app = await pair.source.connect(database)
    await app.query(`set role ${APP_USER}`)
    const { rows } = await app.query<{ n: number }>('select n from counter where client = $1', [client])
    const last = rows[0]!.n
    if (last < acknowledged) throw new Lost(`Client ${client}: transfer ${acknowledged} was lost, ${last} is there.`)
    for (let n = last + 1; !stopped; n++) {
      await transfer(app, client, n, next)
      acknowledged = n
      // Much less than the machine can do: what is tested is not its speed.
      await pause(next(60))
    }
  }
  const done = (async () => {
    while (!stopped) {
      try {
        await run()
      } catch (error) {
        if (error instanceof Lost) throw error
        // The server is gone, or not yet back. Whether the last commit was done, it will tell.
        await pause(20)
      }
    }
  })()
  return {
    client,
    get acknowledged() {
      return acknowledged
    },
    stop: () => {
      stopped = true
    },
    done,
  }
}

/** The source itself has lost what it acknowledged: nobody who follows it can mend that. */
class Lost extends Error {}

async function transfer(app: pg.Client, client: number, n: number, next: (below: number) => number): Promise<void> {
  // Mostly a few lines; now and then more than a group of the apply holds.
  const large = next(1_000) === 0 || (client === 1 && n === 25)
  const lines = large ? 12_000 : 1 + next(6)
  const [a, b] = [1 + next(1_000), 1 + next(1_000)]
  // Sometimes an account is closed, and opened again with its balance.
  const closed = next(8) === 0 ? 1 + next(ACCOUNTS) : 0
  await app.query('begin')
  await app.query(
    `insert into ledger
     select $1, $2, line, 1 + (line * $4::int) % ${ACCOUNTS}, 1 + (line * $5::int + 1) % ${ACCOUNTS}, 1 + line % 7
       from generate_series(1, $3::int) line`,
    [client, n, lines, a, b],
  )
  // In one order, so that clients wait for each other and don't meet in deadlocks.
  await app.query(
    `select from account
      where id in (select unnest(array[debit, credit]) from ledger where client = $1 and n = $2 union select $3::int)
      order by id for update`,
    [client, n, closed],
  )
  await app.query(
    `update account set balance = balance + moved.amount
       from (select id, sum(amount) as amount
               from (select debit as id, -amount as amount from ledger where client = $1 and n = $2
                     union all select credit, amount from ledger where client = $1 and n = $2) as lines
              group by id) as moved
      where account.id = moved.id`,
    [client, n],
  )
  if (closed > 0) {
    await app.query(
      `with closed as (delete from account where id = $1 returning id, balance) insert into account select * from closed`,
      [closed],
    )
  }
  await app.query('insert into receipt values ($1, $2, $3)', [client, n, lines])
  await app.query('update counter set n = $2 where client = $1', [client, n])
  await app.query('commit')
}

/** What one snapshot shows. */
export interface TransferState {
  /** Of all clients. */
  transfers: number
  /** The same, client by client. */
  counters: Record<string, number>
  /** What can't be, if every transaction is there in whole and once. */
  faults: string[]
}

export async function readTransfers(connection: pg.Client): Promise<TransferState> {
  const { rows } = await connection.query<{ total: string; accounts: string; clients: string; counters: string }>(
    // One statement sees one snapshot.
    `with moved as (
       select id, sum(amount) as amount
         from (select debit as id, -amount as amount from ledger union all select credit, amount from ledger) as lines
        group by id),
     by_ledger as (select client, count(distinct n) as transfers, max(n) as last, count(*) as lines from ledger group by client),
     by_receipt as (select client, count(*) as transfers, max(n) as last, count(distinct n) as different, sum(lines) as lines
                      from receipt group by client)
     select (select sum(balance) from account)::text as total,
            (select coalesce(string_agg(format('account %s holds %s', id, balance), ', '), '')
               from account full join moved using (id)
              where balance is distinct from ${OPENING_BALANCE} + coalesce(amount, 0)) as accounts,
            (select coalesce(string_agg(format('client %s: %s, %s, %s', client, c.n, r, l), '; '), '')
               from counter as c full join by_receipt as r using (client) full join by_ledger as l using (client)
              where (c.n, c.n, c.n, c.n, c.n, r.lines)
                    is distinct from (coalesce(r.transfers, 0), coalesce(r.last, 0), coalesce(r.different, 0),
                                      coalesce(l.transfers, 0), coalesce(l.last, 0), l.lines)) as clients,
            (select json_object_agg(client, n)::text from counter) as counters`,
  )
  const { total, accounts, clients, counters } = rows[0]!
  const byClient = JSON.parse(counters ?? '{}') as Record<string, number>
  return {
    transfers: Object.values(byClient).reduce((sum, n) => sum + n, 0),
    counters: byClient,
    faults: [total === String(TOTAL) ? '' : `the sum is ${total}`, accounts, clients].filter((fault) => fault !== ''),
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
