import { eachSession, perSession, type Amount, type Shape } from './shape.ts'

const TABLES = 500
/** Rows of each table before. */
const ROWS = 100
const UPDATES = 3

/** Rows of a session are its own: its transactions wait for no other. */
export function manyTablesShape(amount: Amount): Shape {
  const { sessions } = amount
  const each = perSession(amount)
  return {
    name: 'many-tables',
    about: `${each * sessions} transactions of ${UPDATES} updates and 1 insert in random ones of ${TABLES} tables`,
    tables: `
      do $$ begin
        for t in 1 .. ${TABLES} loop
          execute format('create table bench_%s (id int primary key, n int, v text)', t);
          execute format('insert into bench_%s select g, 0, md5(g::text) from generate_series(1, ${ROWS}) g', t);
        end loop;
      end $$;`,
    procedures: `
      create procedure bench_many(session int, transactions int) language plpgsql as $$
      begin
        perform setseed(session / 100.0);
        for i in 1 .. transactions loop
          for j in 1 .. ${UPDATES} loop
            execute format('update bench_%s set n = n + 1, v = md5(v) where id = $1', 1 + floor(random() * ${TABLES}))
              using 1 + session + ${sessions} * floor(random() * ${Math.floor(ROWS / sessions)})::int;
          end loop;
          execute format('insert into bench_%s values ($1, 0, $2)', 1 + floor(random() * ${TABLES}))
            using ${ROWS} + i * ${sessions} + session, md5(i::text);
          commit;
        end loop;
      end $$;`,
    calls: eachSession(sessions, (session) => `call bench_many(${session}, ${each})`),
    transactions: each * sessions,
    changes: each * sessions * (UPDATES + 1),
  }
}
