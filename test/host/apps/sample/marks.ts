import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

/** What the app leaves behind for the test to see, and what the test tells the app, are files in this folder. */
const folder = () => process.env['PGFLEX_HOME'] ?? '.'
const marksFile = () => join(folder(), 'marks')

/** Leaves a line that survives whatever happens to this process. */
export const mark = (text: string) => appendFileSync(marksFile(), `${text}\n`)

export const marks = () =>
  existsSync(marksFile()) ? readFileSync(marksFile(), 'utf8').split('\n').filter(Boolean) : []

export const isOpen = (gate: string) => existsSync(join(folder(), `open-${gate}`))

/** Returns when the test opens the gate, or when `gaveUp` says so. */
export async function passGate(gate: string, gaveUp: () => boolean = () => false): Promise<void> {
  while (!isOpen(gate) && !gaveUp()) await wait(5)
}

/** Ends this process the hard way, the first time that it comes here. */
export function crashOnce(place: string): void {
  const line = `crash ${place}`
  if (marks().includes(line)) return
  mark(line)
  process.kill(process.pid, 'SIGKILL')
  // The signal is delivered while this waits: nothing after this line may happen.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)
}
