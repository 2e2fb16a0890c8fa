import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmbeddedServer } from '../../demo/embedded-postgres.ts'
import { formatLsn, type Lsn } from '../../migration/lsn.ts'
import type { ServerPair } from '../../test/support/servers.ts'
import type { Applier } from './applier.ts'
import { DATABASE, PGCOPYDB_DATABASE } from './databases.ts'
import type { Pgcopydb } from './pgcopydb.ts'

/** Of its slot and its replication origin. */
const NAME = 'bench_pgcopydb'
/** ms until it has ended by itself after the last row, or after it was asked to. */
const END_MS = 10_000
/** Nobody makes SQL of changes any more; the process that applies it would wait for ever. */
const HOPELESS = /ERROR +Stream Transform Worker \d+ exited|INFO +Prefetch process \d+ has terminated/

/**
 * `pgcopydb follow`, as a superuser on both sides, with a slot of its own on the same WAL. It looks every 10 s
 * whether there is something to apply; that is part of its time.
 */
export async function createPgcopydbApplier(pair: ServerPair, { plugin }: Pgcopydb): Promise<Applier> {
  const { source, target } = pair
  const start = await createSlot(source, plugin)
  const folder = mkdtempSync(join(tmpdir(), 'pgflex-bench-'))
  let end: Lsn | undefined
  let child: ChildProcess | undefined
  let output = ''
  const environment = {
    PATH: process.env['PATH'],
    HOME: folder,
    TMPDIR: folder,
    // A password in an argument could be read by everybody on the machine.
    PGCOPYDB_SOURCE_PGURI: uri(source, DATABASE),
    PGCOPYDB_TARGET_PGURI: uri(target, PGCOPYDB_DATABASE),
  }

  function command(...args: string[]): void {
    const { status, stderr } = spawnSync('pgcopydb', args, { env: environment, encoding: 'utf8', timeout: END_MS })
    if (status !== 0) throw new Error(`pgcopydb ${args.slice(0, 3).join(' ')} failed: ${lastErrors(stderr)}`)
  }

  async function progress(): Promise<number> {
    await using client = await target.connect(PGCOPYDB_DATABASE)
    const { rows } = await client.query<{ share: number | null }>(
      `select ((pg_replication_origin_progress(roname, false) - $2::pg_lsn)
               / nullif($3::pg_lsn - $2::pg_lsn, 0))::float8 as share
         from pg_replication_origin where roname = $1`,
      [NAME, start, formatLsn(end!)],
    )
    return Math.max(0, rows[0]?.share ?? 0)
  }

  function filesWithoutSql(): number {
    const files = readdirSync(join(folder, 'work', 'cdc'))
    return files.filter((file) => /^[0-9A-F]{24}\.json$/.test(file) && !files.includes(file.replace('.json', '.sql')))
      .length
  }

  const killAtExit = (): void => {
    if (child && !hasEnded(child)) signalGroup(child, 'SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
  process.on('exit', killAtExit)

  async function stop(): Promise<void> {
    if (!child || hasEnded(child)) return
    signalGroup(child, 'SIGTERM')
    const timer = setTimeout(() => signalGroup(child!, 'SIGKILL'), END_MS)
    await once(child, 'exit')
    clearTimeout(timer)
  }

  return {
    name: 'pgcopydb',
    database: PGCOPYDB_DATABASE,
    process: { root: () => child?.pid, nameOf: () => 'pgcopydb', memory: true },
    async prepare(until) {
      end = until
      command('stream', 'sentinel', 'create', '--startpos', start, '--endpos', formatLsn(until))
      command('stream', 'sentinel', 'set', 'apply')
    },
    async begin(until) {
      const args = ['--dir', join(folder, 'work'), '--not-consistent', '--resume', '--slot-name', NAME]
      const option = plugin === 'wal2json' ? [] : ['--plugin', plugin]
      child = spawn('pgcopydb', ['follow', ...args, '--origin', NAME, '--endpos', formatLsn(until!), ...option], {
        env: environment,
        // A group of its own: its helpers end with it.
        detached: true,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      child.stderr!.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-20_000)))
      child.on('error', () => {})
    },
    async check() {
      const ended = hasEnded(child!)
      const missing = HOPELESS.test(output) ? filesWithoutSql() : 0
      if (!ended && missing === 0) return
      const how =
        missing > 0
          ? `it made no SQL of ${missing} of its files of changes`
          : child!.exitCode === 0
            ? 'it says that it is done, and the last row is not there'
            : 'it failed'
      throw new Error(`${how}, with ${percent(await progress())} of the backlog committed; ${lastErrors(output)}`)
    },
    progress,
    complaints: () => lastErrors(output),
    async end(stopped) {
      const deadline = Date.now() + END_MS
      while (!stopped && !hasEnded(child!) && Date.now() < deadline) await pause(20)
      await stop()
      // Its sentinel would be there for those that come after.
      await using client = await source.connect(DATABASE)
      await client.query('drop schema if exists pgcopydb cascade')
      return undefined
    },
    async remove() {
      await stop()
      await dropSlot(source)
      await dropOrigin(target)
    },
    async [Symbol.asyncDispose]() {
      await stop()
      process.off('exit', killAtExit)
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

async function createSlot(source: EmbeddedServer, plugin: string): Promise<string> {
  await using client = await source.connect(DATABASE)
  const { rows } = await client.query<{ lsn: string }>('select lsn from pg_create_logical_replication_slot($1, $2)', [
    NAME,
    plugin,
  ])
  return rows[0]!.lsn
}

async function dropSlot(source: EmbeddedServer): Promise<void> {
  await using client = await source.connect(DATABASE)
  for (;;) {
    const { rows } = await client.query<{ pid: number | null }>(
      'select active_pid as pid, pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1',
      [NAME],
    )
    if (rows.length === 0) return
    if (rows[0]!.pid === null) break
    await pause(20)
  }
  await client.query('select pg_drop_replication_slot($1)', [NAME])
}

/** An origin can't go while a session holds it, and a session outlives a client that was killed. */
async function dropOrigin(target: EmbeddedServer): Promise<void> {
  await using client = await target.connect(PGCOPYDB_DATABASE)
  const others = `select pid, pg_terminate_backend(pid)
                    from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`
  while ((await client.query(others)).rows.length > 0) await pause(20)
  await client.query('select pg_replication_origin_drop(roname) from pg_replication_origin where roname = $1', [NAME])
}

function uri({ host, port, user, password }: EmbeddedServer, database: string): string {
  return `postgresql://${user}:${password}@${host}:${port}/${database}`
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, signal)
  } catch {
    // It is gone already.
  }
}

/** What it has said about its failure, without the times and process ids before it. */
function lastErrors(output: string): string {
  const errors = output.split('\n').flatMap((line) => /\b(?:ERROR|FATAL) +(.*)$/.exec(line)?.[1] ?? [])
  return errors.slice(0, 2).join(' ') || 'it tells of no error.'
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
