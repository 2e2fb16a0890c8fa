import { eachSession, perSession, type Amount, type Shape } from './shape.ts'

/** Rows that are there before. */
const ROWS = 2_000
const UPDATES = 5
/** md5 is 32 hex digits: 20,000 bytes. */
const DIGESTS = 625

/** Rows of a session are its own: its transactions wait for no other. */
export function toastShape(amount: Amount): Shape {
  const { sessions } = amount
  const each = perSession(amount)
  return {
    name: 'toast',
    about: `${each * sessions} transactions of ${UPDATES} updates that leave a 20 kB value alone, and 1 insert of such a row`,
    tables: `
      create table bench_wide (id int primary key, n int, note text, payload text);
      alter table bench_wide alter payload set storage external;
      insert into bench_wide
        select g, 0, 'note ' || g, (select string_agg(md5(g || ' ' || i), '') from generate_series(1, ${DIGESTS}) i)
          from generate_series(1, ${ROWS}) g;`,
    procedures: `
      create procedure bench_toast(session int, transactions int) language plpgsql as $$
      declare
        changed int;
      begin
        perform setseed(session / 100.0);
        for i in 1 .. transactions loop
          for j in 1 .. ${UPDATES} loop
            changed := 1 + session + ${sessions} * floor(random() * ${Math.floor(ROWS / sessions)})::int;
            update bench_wide set n = n + 1 where id = changed;
          end loop;
          insert into bench_wide
            select ${ROWS} + i * ${sessions} + session, 0, 'new', string_agg(md5(random()::text), '')
              from generate_series(1, ${DIGESTS});
          commit;
        end loop;
      end $$;`,
    calls: eachSession(sessions, (session) => `call bench_toast(${session}, ${each})`),
    transactions: each * sessions,
    changes: each * sessions * (UPDATES + 1),
  }
}
