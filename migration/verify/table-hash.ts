import type { Connection } from '../connect.ts'
import { id, literal } from '../sql.ts'
import type { ComparedColumn, TableName } from './compared-table.ts'

/** What is in a table, whatever the order of its rows. */
export interface TableHash {
  rows: bigint
  /** 32 hexadecimal digits */
  hash: string
}

/** `sha256` where both sides have it (PostgreSQL 11 and later; allowed in FIPS mode), else `md5`. */
export type Digest = 'sha256' | 'md5'

/**
 * A hash of a table's content that is equal on two servers when the rows are, whatever their order, the
 * majors, the encodings and the settings of the sessions: the sum over all rows of a digest of each row, so
 * that a row that is there twice counts twice.
 *
 * Columns are hashed in the order given: give both sides the same. The text of a float is exact from
 * PostgreSQL 12 on (shortest-precise output); a comparison with an older server can differ in its digits.
 */
export async function hashTable(
  connection: Connection,
  table: TableName,
  columns: ComparedColumn[],
  digest: Digest = 'sha256',
): Promise<TableHash> {
  await pinOutput(connection)
  const { rows } = await connection.query<{ rows: string; high: string; low: string }>(
    hashQuery(table, columns, digest),
  )
  return toTableHash(rows[0]!)
}

/** To this encoding rows are converted before they are hashed. Bytes of SQL_ASCII can be converted to nothing else. */
const COMMON_ENCODING = `(select case current_setting('server_encoding') when 'SQL_ASCII' then 'SQL_ASCII' else 'UTF8' end)::name`

/** The query behind {@link hashTable}: one row of `rows`, `high`, `low`, all text. Needs {@link pinOutput}. */
export function hashQuery(table: TableName, columns: ComparedColumn[], digest: Digest, condition = 'true'): string {
  // "offset 0" keeps the planner from computing the digest once for each half.
  return `
    select count(*)::text                                                                      as rows,
           coalesce(sum(('x' || substr(digest,  1, 16))::bit(64)::bigint), 0)::text            as high,
           coalesce(sum(('x' || substr(digest, 17, 16))::bit(64)::bigint), 0)::text            as low
      from (select ${rowDigest(columns, digest)} as digest
              from only ${id(table.schema, table.name)}
             where ${condition}
            offset 0) as hashed`
}

/** The SQL of the digest of one row. */
export function rowDigest(columns: ComparedColumn[], digest: Digest): string {
  return digestOf(`convert_to(${rowText(columns, digest)}, ${COMMON_ENCODING})`, digest)
}

/** Sums of {@link hashQuery}, of all rows or added up over parts of them. */
export function toTableHash({ rows, high, low }: Record<'rows' | 'high' | 'low', string | bigint>): TableHash {
  const hex = (sum: string | bigint): string => BigInt.asUintN(64, BigInt(sum)).toString(16).padStart(16, '0')
  return { rows: BigInt(rows), hash: hex(high) + hex(low) }
}

/**
 * Sets what the text of values follows, for the rest of the session. `connect` has set most of it; lc_monetary
 * shapes `money` and quote_all_identifiers `regclass`, `regtype` and their like.
 * https://www.postgresql.org/docs/current/runtime-config-client.html
 */
export async function pinOutput(connection: Connection): Promise<void> {
  const settings = Object.entries(OUTPUT_SETTINGS).map(([name, value]) => `(${literal(name)}, ${literal(value)})`)
  await connection.query(
    `select pg_catalog.set_config(name, value, false) from (values ${settings.join(', ')}) as setting (name, value)`,
  )
}

const OUTPUT_SETTINGS: Record<string, string> = {
  bytea_output: 'hex',
  datestyle: 'ISO, MDY',
  extra_float_digits: '3',
  intervalstyle: 'postgres',
  lc_monetary: 'C',
  quote_all_identifiers: 'off',
  row_security: 'off',
  search_path: 'pg_catalog',
  statement_timeout: '0',
  timezone: 'UTC',
}

/** A function takes 100 arguments at most (FUNC_MAX_ARGS), those of a variadic one included. */
const COLUMNS_PER_FORMAT = 90

/**
 * SQL of the text of a row. `%L` of format() takes a value's own output function (a cast to text would lose the
 * blanks of char(n) and the shape of inet and xml) and quotes it as a literal, NULL as a bare NULL: no two rows
 * of the same columns have one text. A record's text would not do: which values it quotes depends on the
 * isspace() of the server's platform.
 * https://www.postgresql.org/docs/current/functions-string.html#FUNCTIONS-STRING-FORMAT
 */
function rowText(columns: ComparedColumn[], digest: Digest): string {
  const parts: string[] = []
  for (let start = 0; start < columns.length; start += COLUMNS_PER_FORMAT) {
    const some = columns.slice(start, start + COLUMNS_PER_FORMAT)
    parts.push(
      `format('${some.map(() => '%L').join(',')}', ${some.map((column) => columnValue(column, digest)).join(', ')})`,
    )
  }
  return parts.length === 0 ? `''` : parts.join(` || ',' || `)
}

function columnValue({ name, type }: ComparedColumn, digest: Digest): string {
  switch (type) {
    // Its text takes twice its size, and a value is limited to 1 GB.
    case 'bytea':
      return digestOf(id(name), digest)
    // Bytes above 127 are printed in octal from PostgreSQL 16 on, as they are before.
    case 'char':
      return `${id(name)}::int`
    default:
      return id(name)
  }
}

/** The SQL of a digest as 32 or 64 hexadecimal digits. */
export function digestOf(bytea: string, digest: Digest): string {
  return digest === 'md5' ? `md5(${bytea})` : `encode(sha256(${bytea}), 'hex')`
}
