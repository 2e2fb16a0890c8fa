import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { id } from '../../migration/sql.ts'
import type { ServerPair } from '../../test/support/servers.ts'
import { runProgram, type ProgramResult } from '../client-program.ts'
import { passwordFile, serverUri } from '../server-uri.ts'
import { DATABASE, listTablesBySize, OTHER_DATABASE } from './databases.ts'
import type { Load, LoadOptions } from './loader.ts'

/** psql that stops at the first error and says little. */
const PSQL = 'psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1'
/** A pipe has the exit code of its end: what fails before it has to fail there. */
const FAIL = `|| echo 'do $$ begin raise exception $m$the program before the pipe has failed$m$; end $$;'`

/** `pg_dump | psql`: everything in one stream. */
export async function loadByPgDump(pair: ServerPair, options: LoadOptions): Promise<Load> {
  const script = `(pg_dump --no-owner --no-acl --dbname="$SOURCE" ${FAIL}) | ${PSQL} --output=/dev/null "$TARGET"`
  const { seconds, use } = await runShell(pair, script, options)
  return { loader: 'pg_dump', seconds, dataSeconds: null, own: use }
}

/** Makes the tables of the floor, which are no part of it. */
export async function prepareCopy(pair: ServerPair, options: LoadOptions): Promise<void> {
  const script = `(pg_dump --section=pre-data --no-owner --no-acl --dbname="$SOURCE" ${FAIL}) | ${PSQL} --output=/dev/null "$TARGET"`
  await runShell(pair, script, options)
}

/**
 * The floor: `COPY` from one psql to the other into tables that are there, without indexes, as many streams as there
 * are jobs, the tables dealt out to them by size.
 */
export async function loadByCopy(pair: ServerPair, options: LoadOptions): Promise<Load> {
  const tables = await listTablesBySize(pair.source)
  const streams = Array.from({ length: Math.min(options.jobs, tables.length) }, (_, stream) =>
    tables.filter((__, i) => i % options.jobs === stream),
  )
  const scripts = Object.fromEntries(
    streams.map((names, stream) => [
      `copy-${stream}.sql`,
      names
        .map((name) => `\\echo copy ${id(name)} from stdin;\ncopy ${id(name)} to stdout;\n\\echo '\\\\.'\n`)
        .join(''),
    ]),
  )
  const pipes = Object.keys(scripts).map(
    (file) => `(${PSQL} --file=${file} "$SOURCE" ${FAIL}) | ${PSQL} "$TARGET" & jobs="$jobs $!"`,
  )
  const script = `jobs=\n${pipes.join('\n')}\nfor job in $jobs; do wait "$job" || exit 1; done`
  const { seconds, use } = await runShell(pair, script, options, scripts)
  return { loader: 'copy', seconds, dataSeconds: seconds, own: use }
}

/** Runs a script with the two databases as `$SOURCE` and `$TARGET`, in a folder with the given files. */
async function runShell(
  { source, target }: ServerPair,
  script: string,
  options: LoadOptions,
  files: Record<string, string> = {},
): Promise<ProgramResult> {
  const folder = mkdtempSync(join(tmpdir(), 'pgflex-bench-'))
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    return await runProgram('sh', ['-c', `cd '${folder}'\n${script}`], {
      ...options,
      env: {
        PATH: process.env['PATH'],
        SOURCE: serverUri(source, DATABASE),
        TARGET: serverUri(target, OTHER_DATABASE),
        // It tells of no table that is created.
        PGOPTIONS: '-c client_min_messages=warning',
        ...passwordFile(folder, [source, target]),
      },
    })
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}
