import pg from 'pg'
import { APP_USER, type ServerPair } from '../../support/servers.ts'

export const WRITERS_DDL = `
  create table account (id int primary key, balance bigint not null);
  create table entry (id bigint generated always as identity primary key, writer int not null, n int not null, account_id int not null references account, amount bigint not null, unique (writer, n));
  create table entry_count (account_id int primary key, entries bigint not null);
  create function count_entry() returns trigger language plpgsql as $$
  begin
    update public.entry_count set entries = entries + 1 where account_id = new.account_id;
    return null;
  end $$;
  create trigger counted after insert on entry for each row execute function count_entry();`

export const WRITERS_ROWS = `
  insert into account select g, 0 from generate_series(1, 20) g;
  insert into entry_count select g, 0 from generate_series(1, 20) g;`

/** Clients that keep writing, on whichever of the two servers lets them: as applications that follow a cutover do. */
export interface Writers {
  /** Commits that the clients were told of, in all. */
  acknowledged(): number
  /** Ends them, and says which acknowledged entries a server does not have. */
  stop(): Promise<void>
  missing(side: 'source' | 'target'): Promise<string[]>
}

/** ms between two attempts of a client to connect, as a pool makes them: on a small machine, connecting is costly. */
const RETRY_MS = 20

export function startWriters(pair: ServerPair, database: string, clients: number): Writers {
  let stopping = false
  const told = new Set<string>()
  const work = async (writer: number): Promise<void> => {
    let side: 'source' | 'target' = 'target'
    let n = 0
    while (!stopping) {
      const client = new pg.Client({
        host: pair[side].host,
        port: pair[side].port,
        user: APP_USER,
        password: pair.appPassword,
        database,
      })
      client.on('error', () => {})
      try {
        await client.connect()
        while (!stopping) {
          n++
          // Both in one transaction: half of it would show.
          await client.query('begin')
          await client.query('insert into entry (writer, n, account_id, amount) values ($1, $2, $3, $4)', [
            writer,
            n,
            1 + ((writer + n) % 20),
            n % 7,
          ])
          await client.query('update account set balance = balance + $2 where id = $1', [
            1 + ((writer + n) % 20),
            n % 7,
          ])
          await client.query('commit')
          told.add(`${writer} ${n}`)
        }
      } catch {
        // Read-only here, or ended: it may be the other server's turn. What was not acknowledged may be there or not.
        side = side === 'source' ? 'target' : 'source'
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      } finally {
        await client.end().catch(() => {})
      }
    }
  }
  const done = Promise.all(Array.from({ length: clients }, (_, writer) => work(writer)))
  return {
    acknowledged: () => told.size,
    async stop() {
      stopping = true
      await done
    },
    async missing(side) {
      // Before the look: they go on meanwhile.
      const before = [...told]
      await using admin = await pair[side].connect(database)
      const { rows } = await admin.query<{ entry: string }>(`select writer || ' ' || n as entry from entry`)
      const there = new Set(rows.map(({ entry }) => entry))
      return before.filter((entry) => !there.has(entry))
    },
  }
}

/** What holds in every consistent state: balances are the sums of the entries, and each was counted once. */
export const CONSISTENT = `
  select (select coalesce(sum(amount), 0) from entry) = (select sum(balance) from account)
     and (select count(*) from entry) = (select sum(entries) from entry_count) as ok`
