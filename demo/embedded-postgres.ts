import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { copyNative, installedBinaries, isReachable } from './postgres-binaries.ts'

/** A PostgreSQL server of its own in a temporary folder; it ends and goes with `await using` or {@link stop}. */
export interface EmbeddedServer extends AsyncDisposable {
  major: number
  /** The data directory. */
  data: string
  host: string
  port: number
  /** The superuser `postgres` and its password. */
  user: string
  password: string
  /** Opens a superuser connection. */
  connect(database?: string): Promise<pg.Client & AsyncDisposable>
  /** Kills all processes of the server without any notice, as a power cut would. */
  kill(): Promise<void>
  /** Starts it again on the same port and data. */
  start(): Promise<void>
  /** Shuts down (mode fast) and keeps the data. */
  shutdown(): Promise<void>
  /** Shuts down and removes the data. */
  stop(): Promise<void>
}

export interface EmbeddedServerOptions {
  /** postgresql.conf settings over the defaults below. */
  settings?: Record<string, string>
  /** Lines of pg_hba.conf in place of password authentication for everybody. */
  hba?: string[]
  /** Begins as a standby on a copy of this server's data; shut it down, or kill it, before. */
  standbyOf?: Pick<EmbeddedServer, 'data' | 'password'>
  /** The copy has the replication slots too, which a base backup leaves out. */
  withSlots?: boolean
}

const DEFAULT_SETTINGS: Record<string, string> = {
  listen_addresses: '127.0.0.1',
  wal_level: 'logical',
  max_replication_slots: '20',
  max_wal_senders: '20',
  max_connections: '100',
  // Two servers and their clients share small machines.
  shared_buffers: '64MB',
  unix_socket_directories: '',
  logging_collector: 'off',
  log_min_messages: 'warning',
}

/** Initializes and starts a server on a free port. */
export async function startEmbeddedServer(major: number, options: EmbeddedServerOptions = {}): Promise<EmbeddedServer> {
  const installed = installedBinaries(major)
  const folder = mkdtempSync(join(tmpdir(), `pgflex-pg${major}-`))
  const data = join(folder, 'data')
  const password = options.standbyOf?.password ?? randomBytes(12).toString('hex')
  const identity = serverIdentity()
  const passwordFile = join(folder, 'password')
  writeFileSync(passwordFile, password)
  chmodSync(folder, 0o700)
  if (identity) for (const path of [folder, passwordFile]) chownSync(path, identity.uid, identity.gid)
  const native = identity && !isReachable(installed, identity) ? copyNative(installed, folder) : installed

  const binary = (name: string): string => join(native, 'bin', process.platform === 'win32' ? `${name}.exe` : name)
  const environment = {
    PATH: process.env['PATH'] ?? '',
    ...(process.platform === 'linux' ? { LD_LIBRARY_PATH: join(native, 'lib') } : {}),
    ...(process.env['SystemRoot'] === undefined ? {} : { SystemRoot: process.env['SystemRoot'] }),
    LC_ALL: 'C',
    TZ: 'UTC',
  }
  const spawnOptions = { env: environment, cwd: folder, ...identity }
  if (options.standbyOf) {
    copyData(options.standbyOf.data, data, { withSlots: options.withSlots === true, identity })
  } else {
    const initdb = spawnSync(
      binary('initdb'),
      [
        '-D',
        data,
        '-U',
        'postgres',
        '-A',
        'scram-sha-256',
        `--pwfile=${passwordFile}`,
        '-E',
        'UTF8',
        '--locale=C',
        '--no-sync',
      ],
      { ...spawnOptions, encoding: 'utf8' },
    )
    if (initdb.status !== 0) {
      rmSync(folder, { recursive: true, force: true })
      throw new Error(`initdb of PostgreSQL ${major} failed: ${initdb.error?.message ?? initdb.stderr}`)
    }
  }
  rmSync(passwordFile)
  const settings = { ...DEFAULT_SETTINGS, ...options.settings }
  const port = await freePort()
  writeFileSync(
    join(data, 'postgresql.auto.conf'),
    Object.entries({ ...settings, port: String(port) })
      .map(([name, value]) => `${name} = '${value.replace(/'/g, "''")}'\n`)
      .join(''),
  )
  if (options.hba) writeFileSync(join(data, 'pg_hba.conf'), `${options.hba.join('\n')}\n`)

  let process_: ChildProcess | undefined
  let output = ''

  async function start(): Promise<void> {
    output = ''
    const child = spawn(binary('postgres'), ['-D', data], { ...spawnOptions, stdio: ['ignore', 'ignore', 'pipe'] })
    process_ = child
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-20_000)
    })
    const deadline = Date.now() + 60_000
    for (;;) {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(`PostgreSQL ${major} did not start:\n${output}`)
      }
      try {
        await using client = await connect('postgres')
        await client.query('select 1')
        return
      } catch (error) {
        if (Date.now() > deadline)
          throw new Error(`PostgreSQL ${major} did not start within a minute:\n${output}`, { cause: error })
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  async function connect(database = 'postgres'): Promise<pg.Client & AsyncDisposable> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port,
      user: 'postgres',
      password,
      database,
      connectionTimeoutMillis: 10_000,
    })
    client.on('error', () => {})
    try {
      await client.connect()
    } catch (error) {
      await client.end().catch(() => {})
      throw error
    }
    return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
  }

  async function ended(child: ChildProcess): Promise<void> {
    if (child.exitCode === null && child.signalCode === null) {
      await new Promise<void>((resolve) => child.once('exit', () => resolve()))
    }
  }

  async function shutdown(): Promise<void> {
    const child = process_
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    if (process.platform === 'win32') spawnSync(binary('pg_ctl'), ['stop', '-D', data, '-m', 'fast'], spawnOptions)
    else child.kill('SIGINT')
    // Fast shutdown waits for walsenders whose client does not read.
    const timer = setTimeout(() => void kill(), 15_000)
    await ended(child)
    clearTimeout(timer)
  }

  async function kill(): Promise<void> {
    const child = process_
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    if (process.platform === 'linux') {
      // So that it starts no session meanwhile, which would outlive it and keep its successor from the shared memory.
      child.kill('SIGSTOP')
      for (const pid of childrenOf(child.pid!)) signal(pid, 'SIGKILL')
    }
    child.kill('SIGKILL')
    await ended(child)
    rmSync(join(data, 'postmaster.pid'), { force: true })
  }

  async function stop(): Promise<void> {
    process.off('exit', killAtExit)
    await shutdown()
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }

  /** A test process that dies leaves no server behind. */
  function killAtExit(): void {
    process_?.kill('SIGQUIT')
    rmSync(folder, { recursive: true, force: true })
  }
  process.on('exit', killAtExit)

  try {
    await start()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    major,
    data,
    host: '127.0.0.1',
    port,
    user: 'postgres',
    password,
    connect,
    kill,
    start,
    shutdown,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/** Copies a data directory, file by file; the server that starts on the copy is a standby. */
function copyData(
  from: string,
  to: string,
  { withSlots, identity }: { withSlots: boolean; identity: { uid: number; gid: number } | undefined },
): void {
  cpSync(from, to, { recursive: true, filter: (path) => withSlots || dirname(path) !== join(from, 'pg_replslot') })
  rmSync(join(to, 'postmaster.pid'), { force: true })
  writeFileSync(join(to, 'standby.signal'), '')
  for (const entry of ['', ...readdirSync(to, { recursive: true, encoding: 'utf8' })]) {
    if (identity) chownSync(join(to, entry), identity.uid, identity.gid)
  }
  chmodSync(to, 0o700)
}

/** PostgreSQL refuses to run as root: another user id takes over, that of "nobody" unless there is a better one. */
function serverIdentity(): { uid: number; gid: number } | undefined {
  return process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It is gone already.
  }
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
