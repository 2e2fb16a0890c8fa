import type { Shape } from './shape.ts'

/** Some hundred bytes in the types that most tables are made of. */
const TABLE = `
  create table bench_rows (id bigint primary key, a int, b numeric(12, 2), c text, at timestamptz);`

function fill(rows: number): string {
  return `insert into bench_rows
    select g, g % 1000, g / 100.0, md5(g::text), timestamptz '2025-01-01 00:00+00' + g * interval '1 second'
      from generate_series(1, ${rows}) g`
}

/** One transaction that inserts, updates or deletes many rows with one statement. */
export function largeTransactionShape(kind: 'insert' | 'update' | 'delete', rows: number): Shape {
  const statement = {
    insert: fill(rows),
    update: `update bench_rows set a = a + 1, c = reverse(c)`,
    delete: `delete from bench_rows`,
  }[kind]
  return {
    name: kind,
    about: `one transaction, one ${kind} of ${rows} rows of 5 columns`,
    tables: kind === 'insert' ? TABLE : `${TABLE} ${fill(rows)};`,
    procedures: '',
    calls: [statement],
    transactions: 1,
    changes: rows,
  }
}
