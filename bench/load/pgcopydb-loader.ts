import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ServerPair } from '../../test/support/servers.ts'
import { runProgram } from '../client-program.ts'
import { passwordFile, serverUri } from '../server-uri.ts'
import { DATABASE, OTHER_DATABASE, tableBytes } from './databases.ts'
import type { Load, LoadOptions } from './loader.ts'

/** Parts for each job of a table: the last ones end at about the same time. */
const PARTS_PER_JOB = 2

/**
 * `pgcopydb clone` as a superuser, with as many jobs as pgflex; a table that is most of the database is split among
 * them, which only costs time where there are many tables.
 */
export async function loadByPgcopydb(pair: ServerPair, options: LoadOptions): Promise<Load> {
  const { source, target } = pair
  const { jobs } = options
  const folder = mkdtempSync(join(tmpdir(), 'pgflex-bench-'))
  try {
    const { greatest, all } = await tableBytes(source)
    const split =
      greatest > all / 2 ? ['--split-tables-larger-than', `${Math.ceil(greatest / jobs / PARTS_PER_JOB)}`] : []
    const args = ['clone', '--table-jobs', `${jobs}`, '--index-jobs', `${jobs}`, '--no-owner', '--no-acl', ...split]
    const { seconds, use } = await runProgram('pgcopydb', [...args, '--dir', join(folder, 'work')], {
      ...options,
      env: {
        PATH: process.env['PATH'],
        HOME: folder,
        TMPDIR: folder,
        PGCOPYDB_SOURCE_PGURI: serverUri(source, DATABASE),
        PGCOPYDB_TARGET_PGURI: serverUri(target, OTHER_DATABASE),
        ...passwordFile(folder, [source, target]),
      },
    })
    return { loader: 'pgcopydb', seconds, dataSeconds: null, own: use }
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}
