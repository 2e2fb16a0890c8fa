import type { Connection } from '../connect.ts'
import type { VerificationReport } from '../model/status.ts'
import type { TableName } from './compared-table.ts'
import { compareTables, type Side } from './compare-tables.ts'
import { hashQuery, pinOutput, type Digest } from './table-hash.ts'

/**
 * Compares the content of every table by a hash of its rows, over `width` connections to each side.
 *
 * @throws whatever a query throws: no permission, connection lost
 */
export async function compareChecksums(
  source: Side,
  target: Side,
  tables: TableName[],
  width?: number,
  partBytes?: number,
): Promise<VerificationReport> {
  const digest = commonDigest(await Promise.all([versionOf(source), versionOf(target)]))
  return compareTables(
    {
      mode: 'Checksums',
      columns: true,
      prepare: pinOutput,
      query: (table, columns, condition) => hashQuery(table, columns, digest, condition),
    },
    source,
    target,
    tables,
    width,
    partBytes,
  )
}

/** sha256() came with PostgreSQL 11; both sides have to use the same. */
export function commonDigest(versions: number[]): Digest {
  return versions.every((version) => version >= 110_000) ? 'sha256' : 'md5'
}

export async function versionOf(side: Side): Promise<number> {
  if (typeof side !== 'function') return serverVersion(side)
  await using connection = await side()
  return await serverVersion(connection)
}

async function serverVersion(connection: Connection): Promise<number> {
  const { rows } = await connection.query<{ version: string }>(
    `select current_setting('server_version_num') as version`,
  )
  return Number(rows[0]!.version)
}
