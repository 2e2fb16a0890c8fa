import type { Connection } from '../connect.ts'
import { id } from '../sql.ts'
import type { ComparedColumn, TableName } from './compared-table.ts'
import { inKeys, inRange, keyOrder, keyText, type Condition, type Key, type KeyRange } from './key-range.ts'
import type { RowIdentity } from './row-identity.ts'
import { hashQuery, rowDigest, toTableHash, type Digest, type TableHash } from './table-hash.ts'

/** A table as both sides can be asked for it: the same columns in the same order. */
export interface RowsOf {
  table: TableName
  columns: ComparedColumn[]
  identity: RowIdentity
  digest: Digest
}

/**
 * The rows of one side: by the text of their key a digest of each. Where there is no key, the digest of a row is what
 * identifies it, and the value says how often it is there.
 */
export type RowDigests = Map<string, string>

/** The hash of a range. Needs pinOutput(), as everything here. */
export function hashRange(connection: Connection, rows: RowsOf, range: KeyRange): Promise<TableHash> {
  return hashWhere(connection, rows, inRange(rows.identity.columns, range))
}

/** The hash of the rows that a condition holds for. */
export async function hashWhere(connection: Connection, rows: RowsOf, { sql, values }: Condition): Promise<TableHash> {
  const answer = await connection.query<{ rows: string; high: string; low: string }>(
    hashQuery(rows.table, rows.columns, rows.digest, sql),
    values,
  )
  return toTableHash(answer.rows[0]!)
}

/** The key that ends a range of so many rows after `lower`; undefined when no more are there than that. */
export async function rangeEnd(
  connection: Connection,
  { table, identity: { columns } }: RowsOf,
  lower: Key | undefined,
  size: number,
): Promise<Key | undefined> {
  const { sql, values } = inRange(columns, { lower })
  const { rows } = await connection.query<{ key: string }>(
    `select ${keyText(columns)} as key
       from only ${id(table.schema, table.name)}
      where ${sql}
      order by ${keyOrder(columns)}
     offset ${size - 1} limit 1`,
    values,
  )
  return rows[0] && parseKey(rows[0].key)
}

/** The rows of a range, in the order of this side. */
export function digestsInRange(
  connection: Connection,
  rows: RowsOf,
  range: KeyRange,
  limit?: number,
): Promise<RowDigests> {
  const { columns } = rows.identity
  const order = limit === undefined ? '' : `order by ${keyOrder(columns)} limit ${limit}`
  return digestsWhere(connection, rows, inRange(columns, range), order)
}

/** Those of the rows that are there. */
export async function digestsOf(connection: Connection, rows: RowsOf, ids: string[]): Promise<RowDigests> {
  const { columns } = rows.identity
  if (columns.length > 0) return digestsWhere(connection, rows, inKeys(columns, ids.map(parseKey)))
  return contentCounts(connection, rows, 'digest = any ($1::text[])', [ids])
}

/** The rows that a condition holds for. */
export async function digestsWhere(
  connection: Connection,
  { table, columns, identity, digest }: RowsOf,
  { sql, values }: Condition,
  order = '',
): Promise<RowDigests> {
  const { rows } = await connection.query<{ key: string; digest: string }>(
    `select ${keyText(identity.columns)} as key, ${rowDigest(columns, digest)} as digest
       from only ${id(table.schema, table.name)}
      where ${sql} ${order}`,
    values,
  )
  return new Map(rows.map(({ key, digest: of }) => [JSON.stringify(parseKey(key)), of]))
}

/** Hexadecimal digits of a digest that make a bucket: 4,096 of them, of which an answer names each in some bytes. */
const BUCKET_DIGITS = 3

/** Hashes of a table without a key, by the first digits of its rows' digests. */
export async function hashBuckets(connection: Connection, rows: RowsOf): Promise<Map<string, TableHash>> {
  const answer = await connection.query<{ bucket: string; rows: string; high: string; low: string }>(
    `select substr(digest, 1, ${BUCKET_DIGITS}) as bucket,
            count(*)::text as rows,
            sum(('x' || substr(digest,  1, 16))::bit(64)::bigint)::text as high,
            sum(('x' || substr(digest, 17, 16))::bit(64)::bigint)::text as low
       from ${digestsFrom(rows)}
      group by 1`,
  )
  return new Map(answer.rows.map(({ bucket, ...sums }) => [bucket, toTableHash(sums)]))
}

/** The rows of such a table whose digests begin like this. */
export function digestsInBuckets(connection: Connection, rows: RowsOf, buckets: string[]): Promise<RowDigests> {
  return contentCounts(connection, rows, `substr(digest, 1, ${BUCKET_DIGITS}) = any ($1::text[])`, [buckets])
}

async function contentCounts(
  connection: Connection,
  rows: RowsOf,
  condition: string,
  values: unknown[],
): Promise<RowDigests> {
  const answer = await connection.query<{ digest: string; count: string }>(
    `select digest, count(*)::text as count from ${digestsFrom(rows)} where ${condition} group by 1`,
    values,
  )
  return new Map(answer.rows.map(({ digest, count }) => [digest, count]))
}

function digestsFrom({ table, columns, digest }: RowsOf): string {
  return `(select ${rowDigest(columns, digest)} as digest from only ${id(table.schema, table.name)} offset 0) as digests`
}

/** A key from the text of {@link RowDigests}. */
export function parseKey(text: string): Key {
  return JSON.parse(text) as Key
}
