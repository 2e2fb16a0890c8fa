import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { watchProcesses, type Use } from './process-watch.ts'
import { TimeIsUp } from './time-is-up.ts'

export interface ProgramResult {
  seconds: number
  /** Of all its processes; its memory is NaN where it can't be told. */
  use: Use
}

/** ms from asking it to end to ending it. */
const END_MS = 10_000

/**
 * Runs a program to its end, with nothing but the given environment.
 *
 * @throws {TimeIsUp} when it has taken longer than the limit
 * @throws {Error} with what it has said last, when it has failed
 */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: { env: Record<string, string | undefined>; signal: AbortSignal; limitSeconds: number },
): Promise<ProgramResult> {
  options.signal.throwIfAborted()
  const began = performance.now()
  // A shell around it knows at its end what all of its processes have used.
  const child = spawn('sh', ['-c', '"$@"; code=$?; times >&3; exit $code', 'sh', command, ...args], {
    env: options.env,
    // A group of its own: its helpers end with it.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let times = ''
  ;(child.stdio[3] as Readable).setEncoding('utf8').on('data', (text: string) => (times += text))
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-20_000)))
  using watch = watchProcesses([{ root: () => child.pid, nameOf: () => command, memory: true }])
  const send = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-child.pid!, signal)
    } catch {
      // It is gone already.
    }
  }
  const killAtExit = (): void => send('SIGKILL')
  process.on('exit', killAtExit)
  let timeIsUp = false
  const stop = (): void => {
    send('SIGTERM')
    setTimeout(() => send('SIGKILL'), END_MS).unref()
  }
  const limit = setTimeout(() => {
    timeIsUp = true
    stop()
  }, options.limitSeconds * 1000)
  options.signal.addEventListener('abort', stop)
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
    const seconds = (performance.now() - began) / 1000
    options.signal.throwIfAborted()
    if (timeIsUp) throw new TimeIsUp(`stopped after ${Math.round(options.limitSeconds)} s`)
    if (code !== 0) throw new Error(`${command} ended with ${code ?? signal}: ${lastLines(output)}`)
    return { seconds, use: { ...cpuTimes(times), peakRssBytes: watch.end().uses[0]?.peakRssBytes ?? NaN } }
  } finally {
    clearTimeout(limit)
    options.signal.removeEventListener('abort', stop)
    process.off('exit', killAtExit)
    // What outlives the first process of its group would go on to write.
    send('SIGKILL')
  }
}

/** The second line is that of the children. https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#times */
function cpuTimes(text: string): { userSeconds: number; systemSeconds: number } {
  const [user = NaN, system = NaN] = [...(text.split('\n')[1] ?? '').matchAll(/(\d+)m([\d.]+)s/g)].map(
    ([, minutes, seconds]) => Number(minutes) * 60 + Number(seconds),
  )
  return { userSeconds: user, systemSeconds: system }
}

function lastLines(output: string): string {
  const lines = output.trim().split('\n')
  const errors = lines.filter((line) => /\b(?:ERROR|FATAL|error)\b/.test(line))
  return (errors.length > 0 ? errors : lines).slice(0, 3).join(' ')
}
