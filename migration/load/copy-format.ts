import type { Connection } from '../connect.ts'
import { copiedColumns, type SourceTable } from './tables.ts'

export type CopyFormat = 'binary' | 'text'

export interface ServerFacts {
  major: number
  /** server_encoding of the database. */
  encoding: string
}

/**
 * Types whose binary form is the same value on every supported version. Deliberately not here:
 * reg* types and aclitem (their binary form is an object id of the source, or there is none), xml (its binary form
 * carries an encoding declaration that the stored text does not have), tsquery (an empty one is written in a binary
 * form that no server reads: "malformed tsquery"), the snapshot and vector system types, and
 * everything that is not built in: enums, domains, composites and types of extensions may have another id or form
 * on the target. money is here: its text form depends on lc_monetary, its binary form is the stored number.
 * https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT
 */
const SAFE_TYPES = (
  'bool int2 int4 int8 oid xid cid tid float4 float8 numeric money ' +
  'text varchar bpchar name char bytea uuid json jsonb ' +
  'date time timetz timestamp timestamptz interval ' +
  'inet cidr macaddr macaddr8 bit varbit pg_lsn tsvector ' +
  'point line lseg box path polygon circle ' +
  'int4range int8range numrange daterange tsrange tstzrange ' +
  'int4multirange int8multirange nummultirange datemultirange tsmultirange tstzmultirange ' +
  'jsonpath xid8'
).split(' ')

/** An array carries the object id of its element type, which is fixed for built-in types. */
const SAFE = new Set(SAFE_TYPES.flatMap((type) => [type, `_${type}`]))

/**
 * Chooses binary where every column has the same built-in type of {@link SAFE_TYPES} on both sides, else text.
 *
 * Both servers must use the same encoding (a SQL_ASCII source has bytes of no known encoding), and the target must
 * not be older than the source: an older one may not know every value (infinity in numeric is new in 14).
 *
 * @param target the table of the same name on the target, if there is one
 */
export function copyFormat(
  table: Pick<SourceTable, 'columns'>,
  target: Pick<SourceTable, 'columns'> | undefined,
  sourceServer: ServerFacts,
  targetServer: ServerFacts,
): CopyFormat {
  if (sourceServer.encoding !== targetServer.encoding || sourceServer.encoding === 'SQL_ASCII') return 'text'
  if (targetServer.major < sourceServer.major) return 'text'
  const targetTypes = new Map(target?.columns.map((column) => [column.name, column.builtin]))
  const safe = copiedColumns(table).every(
    ({ name, builtin }) => builtin !== null && SAFE.has(builtin) && targetTypes.get(name) === builtin,
  )
  return safe ? 'binary' : 'text'
}

export async function serverFacts(connection: Connection): Promise<ServerFacts> {
  const { rows } = await connection.query<{ version: string; encoding: string }>(
    `select current_setting('server_version_num') as version, current_setting('server_encoding') as encoding`,
  )
  return { major: Math.floor(Number(rows[0]!.version) / 10_000), encoding: rows[0]!.encoding }
}
