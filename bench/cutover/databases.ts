import { APP_USER } from '../../demo/roles.ts'
import { id } from '../../migration/sql.ts'
import type { ServerPair } from '../../test/support/servers.ts'

/** What is cut over: databases that are alike. */
export interface Shape {
  databases: number
  /** Of each of them; one more has the numbers of the transactions. */
  tables: number
  /** Of all tables of a database together. */
  rows: number
}

/** Sessions that write at the same time, in all databases together. */
export const SESSIONS = 4
/** Updates of one transaction, each in a table of its own choice. */
const UPDATES = 3
/** Tables that one transaction makes: it locks them all until its end. */
const TABLES_AT_A_TIME = 500

const TEMPLATE = 'bench_cutover_template'

export function databaseNames({ databases }: Shape): string[] {
  return Array.from({ length: databases }, (_, n) => `bench_cutover_${n + 1}`)
}

/** Each session has its own part of the rows of each table. */
export function rowsOfTable({ rows, tables }: Shape): number {
  return Math.max(Math.floor(rows / tables), 100)
}

/** Makes the database once that every round has copies of. */
export async function createTemplate({ source }: ServerPair, shape: Shape): Promise<void> {
  {
    await using admin = await source.connect()
    await admin.query(`drop database if exists ${TEMPLATE}`)
    await admin.query(`create database ${TEMPLATE} owner ${APP_USER}`)
  }
  await using database = await source.connect(TEMPLATE)
  await database.query('set synchronous_commit = off')
  await database.query(`set role ${APP_USER}`)
  for (let first = 1; first <= shape.tables; first += TABLES_AT_A_TIME) {
    const last = Math.min(shape.tables, first + TABLES_AT_A_TIME - 1)
    await database.query(tablesBetween(first, last, rowsOfTable(shape)))
  }
  await database.query(WRITES)
  await database.query('reset role')
  await database.query('vacuum analyze')
}

/** What many schemas have: a key that the table itself counts, another index, a reference to a neighbour. */
function tablesBetween(first: number, last: number, rows: number): string {
  return `
    do $$ begin
      for t in ${first} .. ${last} loop
        execute format('create table bench_%s (id bigint generated always as identity primary key, n int not null,
                                               v text not null, neighbour bigint not null default 1)', t);
        execute format('insert into bench_%s (n, v) select g, md5(g::text) from generate_series(1, ${rows}) g', t);
        execute format('create index on bench_%s (n)', t);
        if t > 1 then
          execute format('alter table bench_%s add foreign key (neighbour) references bench_%s (id)', t, t - 1);
        end if;
      end loop;
    end $$`
}

/** One transaction of a session: its number is in the ledger if and only if the rest is there, too. */
const WRITES = `
  create table bench_ledger (session int, number bigint, primary key (session, number));
  create function bench_write(session int, number bigint, tables int, share int, sessions int) returns void
  language plpgsql as $$
  begin
    for i in 1 .. ${UPDATES} loop
      execute format('update bench_%s set n = n + 1, v = md5(v) where id = $1', 1 + floor(random() * tables))
        using 1 + session + sessions * floor(random() * share)::int;
    end loop;
    execute format('insert into bench_%s (n, v) values ($1, $2)', 1 + floor(random() * tables))
      using number, md5(number::text);
    insert into bench_ledger values (session, number);
  end $$;`

/** The databases of a round, and none on the target: the migration makes them. */
export async function createDatabases(pair: ServerPair, shape: Shape): Promise<void> {
  await dropDatabases(pair, shape)
  await using admin = await pair.source.connect()
  // Before PostgreSQL 15 files are copied anyway; a copy through the WAL would be read by every slot.
  const strategy = pair.source.major >= 15 ? 'strategy file_copy' : ''
  for (const name of databaseNames(shape)) {
    await admin.query(`create database ${id(name)} owner ${APP_USER} template ${TEMPLATE} ${strategy}`)
  }
}

/** Also the slots that a migration which failed has left. */
export async function dropDatabases({ source, target }: ServerPair, shape: Shape): Promise<void> {
  await using admin = await source.connect()
  await using other = await target.connect()
  for (const name of databaseNames(shape)) {
    await admin.query(`select pg_terminate_backend(active_pid) from pg_replication_slots where database = $1`, [name])
    await admin.query(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1`, [
      name,
    ])
    await admin.query(`drop database if exists ${id(name)} with (force)`)
    await other.query(`drop database if exists ${id(name)} with (force)`)
  }
}
