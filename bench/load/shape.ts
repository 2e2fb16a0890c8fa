export const SHAPES = ['big', 'middling', 'small'] as const
export type ShapeName = (typeof SHAPES)[number]

/** A kind of database to load. */
export interface Shape {
  name: ShapeName
  /** In words, for the reader of the figures. */
  about: string
  /** Makes it, statement by statement. */
  statements: string[]
}

export interface Sizes {
  rows: number
  tables: number
  tableRows: number
  smallTables: number
}

/** Tables that one transaction makes: it locks them all until its end. */
const TABLES_AT_A_TIME = 500
/** Rows of a small table: it has some, and they don't matter. */
const SMALL_ROWS = 10

export function shapeOf(name: ShapeName, { rows, tables, tableRows, smallTables }: Sizes): Shape {
  switch (name) {
    case 'big':
      return {
        name,
        about: `one table of ${rows} rows of some 120 bytes, a primary key and 2 indexes`,
        statements: [
          'create table bench_big (id bigint, customer int, amount numeric(12, 2), note text, at timestamptz)',
          `insert into bench_big
             select g, g * 7919 % 1000003, g % 100000 / 100.0, md5(g::text) || md5((g + 1)::text),
                    timestamptz '2025-01-01 00:00+00' + g * interval '1 second'
               from generate_series(1, ${rows}::bigint) g`,
          'alter table bench_big add primary key (id)',
          'create index on bench_big (customer)',
          'create index on bench_big (at)',
          'vacuum analyze',
        ],
      }
    case 'middling':
      return {
        name,
        about: `${tables} tables of ${tableRows} rows, each with a primary key, 3 indexes and a foreign key to its neighbour`,
        statements: [
          ...eachTable(tables, (table) => [
            `create table ${table} (id int primary key, a int, b text, c timestamptz, neighbour int)`,
            `insert into ${table}
               select g, g * 31 % 1009, md5(g::text), timestamptz '2025-01-01 00:00+00' + g * interval '1 minute', g
                 from generate_series(1, ${tableRows}) g`,
            `create index on ${table} (a)`,
            `create index on ${table} (b)`,
            `create index on ${table} (c)`,
          ]),
          ...eachTable(tables, (table, number) =>
            number === 1
              ? []
              : [`alter table ${table} add foreign key (neighbour) references bench_${number - 1} (id)`],
          ),
          'vacuum analyze',
        ],
      }
    case 'small':
      return {
        name,
        about: `${smallTables} tables of ${SMALL_ROWS} rows, each with a primary key and 1 index`,
        statements: [
          ...eachTable(smallTables, (table) => [
            `create table ${table} (id int primary key, v text)`,
            `insert into ${table} select g, md5(g::text) from generate_series(1, ${SMALL_ROWS}) g`,
            `create index on ${table} (v)`,
          ]),
          'vacuum analyze',
        ],
      }
  }
}

/** Some tables for each statement, which is a transaction of its own. */
function eachTable(tables: number, statements: (table: string, number: number) => string[]): string[] {
  const chunks: string[] = []
  for (let first = 1; first <= tables; first += TABLES_AT_A_TIME) {
    const last = Math.min(tables, first + TABLES_AT_A_TIME - 1)
    const numbers = Array.from({ length: last - first + 1 }, (_, i) => first + i)
    const chunk = numbers.flatMap((number) => statements(`bench_${number}`, number))
    if (chunk.length > 0) chunks.push(chunk.join('; '))
  }
  return chunks
}
