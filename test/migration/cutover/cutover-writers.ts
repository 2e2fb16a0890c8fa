import pg from 'pg'
import { APP_USER, TARGET_USER, type ServerPair } from '../../support/servers.ts'

/**
 * What the writers write. Tables without a key hold what comes twice twice: one that is followed (identity FULL),
 * one that is copied again at the cutover (no identity), and one that a trigger fills.
 */
export const WRITERS_DDL = `
  create table counter (client int primary key, n int not null);
  insert into counter select g, 0 from generate_series(1, 3) g;
  create table entry (id bigint generated always as identity, client int not null references counter, n int not null, object oid);
  alter table entry replica identity full;
  create table receipt (client int not null, n int not null);
  create unlogged table scratch (client int not null, n int not null);
  create table audit (client int not null, n int not null);
  alter table audit replica identity full;
  create index audit_client on audit (client);
  create function note() returns trigger language plpgsql
    as 'begin insert into public.audit values (new.client, new.n); return null; end';
  create trigger note after insert on entry for each row execute function note();
  create sequence ticket;
  create table sold (ticket bigint primary key, client int not null);
  create materialized view totals as select client, count(*) as entries from entry group by client`

const CLIENTS = [1, 2, 3]

/** Clients that write all the time, on the source first and on the target when they are told to move there. */
export interface Writers extends AsyncDisposable {
  /** By client: the last transaction whose commit was answered. */
  acknowledged(): Record<string, number>
  /** How often a write was refused because the source is read-only. */
  refused(): number
  /** Waits until every client has had more commits from now on. */
  untilMore(): Promise<void>
  moveTo(side: 'source' | 'target'): void
  stop(): Promise<void>
}

export function startWriters(pair: ServerPair, database: string): Writers {
  let [side, stopped, refused]: ['source' | 'target', boolean, number] = ['source', false, 0]
  const acknowledged: Record<string, number> = {}
  const work = async (client: number): Promise<void> => {
    acknowledged[client] = 0
    while (!stopped) {
      const place = side
      try {
        await using app = await connect(pair, database, place)
        const { rows } = await app.query<{ n: number }>('select n from counter where client = $1', [client])
        if (rows[0]!.n < acknowledged[client]) throw new Lost(`${place}: client ${client} has lost transactions.`)
        for (let n = rows[0]!.n + 1; !stopped && side === place; n++) {
          await write(app, client, n)
          acknowledged[client] = n
          await pause(15)
        }
      } catch (error) {
        if (error instanceof Lost) throw error
        // read_only_sql_transaction
        if ((error as { code?: string }).code === '25006') refused++
        // Anything else says nothing of the last commit: the next session looks.
        await pause(20)
      }
    }
  }
  const done = Promise.all(CLIENTS.map(work))
  done.catch(() => {})
  const stop = async (): Promise<void> => {
    stopped = true
    await done
  }
  return {
    acknowledged: () => ({ ...acknowledged }),
    refused: () => refused,
    async untilMore() {
      const before = { ...acknowledged }
      const more = (async () => {
        while (CLIENTS.some((client) => acknowledged[client]! <= (before[client] ?? 0))) await pause(10)
      })()
      const late = pause(20_000).then(() => {
        throw new Error(`The clients cannot write on the ${side}.`)
      })
      await Promise.race([more, done, late])
      late.catch(() => {})
    },
    moveTo(place) {
      side = place
    },
    stop,
    [Symbol.asyncDispose]: () => stop().catch(() => {}),
  }
}

/** A server has lost what it acknowledged. */
class Lost extends Error {}

async function connect(
  pair: ServerPair,
  database: string,
  side: 'source' | 'target',
): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: pair[side].port,
    user: side === 'source' ? APP_USER : TARGET_USER,
    password: side === 'source' ? pair.appPassword : pair.targetPassword,
    database,
    connectionTimeoutMillis: 5_000,
  })
  client.on('error', () => {})
  const end = (): Promise<void> => client.end().catch(() => {})
  await client.connect().catch(async (error: unknown) => {
    await end()
    throw error
  })
  return Object.assign(client, { [Symbol.asyncDispose]: end })
}

async function write(app: pg.Client, client: number, n: number): Promise<void> {
  await app.query('begin')
  await app.query('update counter set n = $2 where client = $1', [client, n])
  await app.query(
    `insert into entry (client, n, object)
     select $1::int, $2::int, case when $2::int % 20 = 0 then lo_from_bytea(0, convert_to($1 || ' ' || $2, 'UTF8')) end`,
    [client, n],
  )
  await app.query('insert into receipt values ($1, $2)', [client, n])
  // An update that the stream does not carry: the table has no identity.
  await app.query('insert into scratch values ($1, $2)', [client, n])
  await app.query(`insert into sold values (nextval('ticket'), $1)`, [client])
  await app.query('commit')
}

/** What is wrong on one side: lost, doubled or half transactions. */
export async function findFaults(connection: pg.Client, acknowledged: Record<string, number>): Promise<string[]> {
  const faults: string[] = []
  for (const client of CLIENTS) {
    const { rows } = await connection.query<Record<string, number>>(
      `select n,
              (select count(*)::int from entry where client = $1)                 as entries,
              (select count(distinct e.n)::int from entry as e where client = $1) as different,
              (select count(*)::int from receipt where client = $1)                 as receipts,
              (select count(distinct r.n)::int from receipt as r where client = $1) as "different receipts",
              (select count(*)::int from audit where client = $1)                 as audits,
              (select count(distinct a.n)::int from audit as a where client = $1) as "different audits",
              (select count(*)::int from sold where client = $1)                  as tickets
         from counter where client = $1`,
      [client],
    )
    const { n, ...counts } = rows[0]!
    if (n! < acknowledged[client]!) faults.push(`client ${client}: ${acknowledged[client]} acknowledged, ${n} there`)
    for (const [what, count] of Object.entries(counts)) {
      if (count !== n) faults.push(`client ${client}: ${count} ${what} of ${n} transactions`)
    }
  }
  const { rows: objects } = await connection.query<{ wrong: number }>(
    `select count(*)::int as wrong
       from entry
       full join pg_largeobject_metadata as o on o.oid = object
      where (object is not null or o.oid is not null)
        and (client is null or o.oid is null or convert_from(lo_get(object), 'UTF8') <> client || ' ' || n)`,
  )
  if (objects[0]!.wrong > 0) faults.push(`${objects[0]!.wrong} large objects`)
  return faults
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
