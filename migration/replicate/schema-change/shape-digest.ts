import { createHash } from 'node:crypto'
import type { Connection } from '../../connect.ts'
import { sourceVersion } from './source-definition.ts'
import type { TableShape } from './table-shape.ts'

/** What a shape is compared by with the catalog of the source, in short. */
export function shapeDigest({ filenode, columns, generated }: TableShape): string {
  const own = columns.map(({ name, attnum, typeOid, typeModifier }) => `${attnum}:${name}:${typeOid}:${typeModifier}`)
  return createHash('md5')
    .update(`${filenode}|${own.join(',')}|${generated.join(',')}`)
    .digest('hex')
}

/** {@link shapeDigest} of what tables of the source are now, by object id; those that are gone are missing. */
export async function readDigests(source: Connection, oids: readonly number[]): Promise<Map<number, string>> {
  const generated = (await sourceVersion(source)) >= 120_000 ? "a.attgenerated <> ''" : 'false'
  const { rows } = await source.query<{ oid: string; digest: string }>(
    `select c.oid,
            md5(convert_to(concat(
              c.relfilenode, '|',
              string_agg(concat_ws(':', a.attnum, a.attname, a.atttypid::int8, a.atttypmod), ',' order by a.attnum)
                filter (where not (${generated})), '|',
              string_agg(a.attname, ',' order by a.attnum) filter (where ${generated})), 'UTF8')) as digest
       from pg_class c
       left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where c.oid = any ($1::oid[])
      group by c.oid, c.relfilenode`,
    [oids],
  )
  return new Map(rows.map(({ oid, digest }) => [Number(oid), digest]))
}
