import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { packageRoot } from './options.ts'

export interface StartHostOptions {
  /** The host's home folder. */
  home: string
  /** Default 0: a free one. */
  port?: number
  /** Added to this process's environment; undefined takes a variable away. */
  env?: Record<string, string | undefined>
  /** Root of another app than pgflex. */
  app?: string
  /** Program and arguments that start the host; default is the built host on this Node. */
  command?: [string, ...string[]]
  /** More options of the host. */
  args?: string[]
  readyTimeoutMs?: number
}

export interface RunningHost extends AsyncDisposable {
  url: string
  key: string
  pid: number
  /** Ends it (SIGTERM unless told otherwise) and waits; resolves with its exit code, null when a signal ended it. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  /** Ends it the hard way, as a crash would. */
  kill(): Promise<void>
  /** Resolves with the exit code when the process ends by itself. */
  exited: Promise<number | null>
  /** Everything it has written so far, stdout and stderr. */
  output(): string
}

const readyLine = /^pgflex is ready: (\S+?)\/#key=(\S+)$/m

/**
 * Starts the local host as a process of its own and waits until it is ready.
 *
 * @example
 * await using host = await startHost({ home })
 * await fetch(`${host.url}/health`)
 */
export async function startHost(options: StartHostOptions): Promise<RunningHost> {
  const { home, port = 0, env = {}, app, args = [], readyTimeoutMs = 60_000 } = options
  const [program, ...first] = options.command ?? [process.execPath, join(packageRoot(), 'dist', 'host', 'main.js')]
  const child = spawn(program, [...first, '--port', String(port), ...(app ? ['--app', app] : []), ...args], {
    env: { ...process.env, ...env, PGFLEX_HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
  })

  let output = ''
  const ready = Promise.withResolvers<[url: string, key: string]>()
  const onOutput = (chunk: string) => {
    output += chunk
    const [, url, key] = readyLine.exec(output) ?? []
    if (url && key) ready.resolve([url, decodeURIComponent(key)])
  }
  child.stdout.setEncoding('utf8').on('data', onOutput)
  child.stderr.setEncoding('utf8').on('data', onOutput)

  // A host that outlives the one who started it would hold its home and its port.
  const killAtExit = () => child.kill('SIGKILL')
  process.once('exit', killAtExit)
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve))
  void exited.then(() => process.off('exit', killAtExit))
  child.once('error', ready.reject)
  void exited.then((exitCode) => ready.reject(new StartError('The host ended before it was ready', exitCode, output)))
  const timer = setTimeout(
    () => ready.reject(new StartError(`The host was not ready after ${readyTimeoutMs} ms`, child.exitCode, output)),
    readyTimeoutMs,
  )

  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    return exited
  }
  try {
    const [url, key] = await ready.promise
    return {
      url,
      key,
      exited,
      pid: child.pid ?? 0,
      stop: (signal = 'SIGTERM') => end(signal),
      kill: async () => void (await end('SIGKILL')),
      output: () => output,
      [Symbol.asyncDispose]: async () => void (await end('SIGKILL')),
    }
  } catch (error) {
    await end('SIGKILL')
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/** The host did not start; the message says what it wrote. */
export class StartError extends Error {
  readonly exitCode: number | null
  constructor(message: string, exitCode: number | null, output: string) {
    super(`${message} (exit code ${exitCode}):\n${output}`)
    this.exitCode = exitCode
  }
}
