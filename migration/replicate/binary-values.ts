import type { Connection } from '../connect.ts'

/**
 * Types whose binary form is the same value on every supported version, and which stand alone in an array: of arrays
 * and composites the binary form carries object ids, enums and types of extensions have other ids or forms on the
 * target. The binary form spares both servers the conversion to text and back.
 */
const BINARY_TYPES =
  'bool int2 int4 int8 oid float4 float8 numeric text varchar bpchar name bytea uuid json jsonb date time timetz timestamp timestamptz interval'

/** SQL that is true for such a type. @param type a row of pg_type */
export function isBinaryType(type: string): string {
  return `(${type}.oid < 16384 and ${type}.typname = any (string_to_array('${BINARY_TYPES}', ' ')))`
}

/** Binary values are new in pgoutput of PostgreSQL 14. */
const SINCE = 140_000

/**
 * Whether all columns of the publications' tables may be asked for in their binary form. It is asked for a whole
 * stream; what is not so at the place in the stream, or on the target, is found out by planTable.
 */
export async function publishesBinary(source: Connection, publications: readonly string[]): Promise<boolean> {
  const { rows } = await source.query<{ binary: string }>(
    `select current_setting('server_version_num')::int >= $2
            and not exists (select
                              from pg_publication p
                              join pg_publication_rel r on r.prpubid = p.oid
                              join pg_attribute a on a.attrelid = r.prrelid and a.attnum > 0 and not a.attisdropped
                              join pg_type t on t.oid = a.atttypid
                             where p.pubname = any ($1::name[]) and not ${isBinaryType('t')}) as binary`,
    [publications, SINCE],
  )
  return rows[0]!.binary === 't'
}
