import { eachSession, perSession, SESSIONS, type Amount, type Shape } from './shape.ts'

/** 100,000 accounts, 10 tellers and a branch each. */
const SCALE = 10

/**
 * The tables and the TPC-B transaction of pgbench, which is not needed itself.
 * https://www.postgresql.org/docs/current/pgbench.html
 */
const TABLES = `
  create table pgbench_branches (bid int not null, bbalance int, filler char(88));
  create table pgbench_tellers (tid int not null, bid int, tbalance int, filler char(84));
  create table pgbench_accounts (aid int not null, bid int, abalance int, filler char(84));
  create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
  insert into pgbench_branches select g, 0 from generate_series(1, ${SCALE}) g;
  insert into pgbench_tellers select g, (g - 1) / 10 + 1, 0 from generate_series(1, ${SCALE * 10}) g;
  insert into pgbench_accounts select g, (g - 1) / 100000 + 1, 0, '' from generate_series(1, ${SCALE * 100_000}) g;
  alter table pgbench_branches add primary key (bid);
  alter table pgbench_tellers add primary key (tid);
  alter table pgbench_accounts add primary key (aid);`

/** Stops after so many transactions or seconds; with a rate it keeps to so many transactions in a second. */
const PROCEDURES = `
  create procedure bench_tpcb(session int, transactions int, seconds float8, rate float8) language plpgsql as $$
  declare
    began   timestamptz := clock_timestamp();
    elapsed float8 := 0;
    done    int := 0;
    account int;
    teller  int;
    branch  int;
    amount  int;
  begin
    perform setseed(session / 100.0);
    commit;
    while done < transactions and elapsed < seconds loop
      account := 1 + floor(random() * ${SCALE * 100_000});
      teller  := 1 + floor(random() * ${SCALE * 10});
      branch  := 1 + floor(random() * ${SCALE});
      amount  := floor(random() * 10001) - 5000;
      update pgbench_accounts set abalance = abalance + amount where aid = account;
      update pgbench_tellers set tbalance = tbalance + amount where tid = teller;
      update pgbench_branches set bbalance = bbalance + amount where bid = branch;
      insert into pgbench_history (tid, bid, aid, delta, mtime) values (teller, branch, account, amount, clock_timestamp());
      commit;
      done := done + 1;
      elapsed := extract(epoch from clock_timestamp() - began);
      if done / rate > elapsed then
        perform pg_sleep(done / rate - elapsed);
        commit;
      end if;
    end loop;
  end $$;`

export function pgbenchShape(amount: Amount): Shape {
  const { sessions } = amount
  const each = perSession(amount)
  return {
    name: 'pgbench',
    about: `${each * sessions} TPC-B transactions of 3 updates and 1 insert from ${sessions} sessions, scale ${SCALE}`,
    tables: TABLES,
    procedures: PROCEDURES,
    calls: eachSession(sessions, (session) => `call bench_tpcb(${session}, ${each}, 'infinity', 'infinity')`),
    transactions: each * sessions,
    changes: each * sessions * 4,
  }
}

/** The same transactions for some time. @param rate transactions in a second of all sessions */
export function tpcbCalls(seconds: number, rate = Infinity): string[] {
  const each = Number.isFinite(rate) ? String(rate / SESSIONS) : `'infinity'`
  return eachSession(SESSIONS, (session) => `call bench_tpcb(${session}, ${2 ** 31 - 1}, ${seconds}, ${each})`)
}
