import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { EmbeddedServer } from '../../demo/embedded-postgres.ts'

/** An installed pgcopydb as far as this benchmark has to know it. */
export interface Pgcopydb {
  /** As it calls itself: `pgcopydb version 0.10-1`. */
  version: string
  /** Output plugin of its slot. */
  plugin: string
}

/** Where the packages of Debian and of the PostgreSQL project have the modules of a server. */
const MODULES = (major: number): string[] => [`/usr/lib/postgresql/${major}/lib`, `/usr/pgsql-${major}/lib`]

/**
 * A setting with which a server finds wal2json where the system's packages have put it: modules of a major version
 * load into any build of that version. Its own come first.
 * https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-DYNAMIC-LIBRARY-PATH
 */
export function modulePath(major: number): Record<string, string> {
  const folder = MODULES(major).find((one) => existsSync(`${one}/wal2json.so`))
  return folder === undefined ? {} : { dynamic_library_path: `$libdir:${folder}` }
}

/**
 * Looks what is installed. Its commands are other ones in each release; this benchmark drives those that have the
 * sentinel in a table of the source (0.10, which Debian 12 has).
 *
 * @returns why it takes no part when it can't
 */
export async function findPgcopydb(source: EmbeddedServer): Promise<Pgcopydb | { reason: string }> {
  const version = run('--version').split('\n')[0]!
  if (version === '') return { reason: 'it is not on the PATH.' }
  if (!run('stream', 'sentinel', '--help').includes('create')) {
    return { reason: `${version} has no "stream sentinel create", and this benchmark knows no other way to drive it.` }
  }
  // Without the option, wal2json is what it knows.
  const plugin = run('follow', '--help').includes('--plugin') ? 'test_decoding' : 'wal2json'
  await using client = await source.connect()
  try {
    await client.query(`select pg_create_logical_replication_slot('bench_probe', $1, temporary => true)`, [plugin])
  } catch (error) {
    return {
      reason:
        `${version} needs the output plugin ${plugin}, which the source can't load (${(error as Error).message}): ` +
        `install it, postgresql-${source.major}-${plugin} on Debian.`,
    }
  }
  return { version, plugin }
}

/** Help and version, whichever stream they go to; empty when it can't be run. */
function run(...args: string[]): string {
  const { error, stdout, stderr } = spawnSync('pgcopydb', args, { encoding: 'utf8', timeout: 10_000 })
  return error ? '' : `${stdout}${stderr}`.replaceAll(/^.* INFO .*\n/gm, '')
}
