import { readdirSync, readFileSync } from 'node:fs'
import type { EmbeddedServer } from '../demo/embedded-postgres.ts'

/** Ticks in a second in /proc: USER_HZ, 100 on every architecture that Node runs on. */
const TICKS = 100

/**
 * Reads how much processor time all processes of a server have taken, those that have ended included.
 *
 * @returns seconds so far, at each call; NaN where there is no /proc
 */
export async function serverCpu(server: EmbeddedServer): Promise<() => number> {
  await using client = await server.connect()
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  const postmaster = stat(rows[0]!.pid)?.parent
  return () => {
    const own = postmaster === undefined ? undefined : stat(postmaster)
    if (!own) return NaN
    const children = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => stat(Number(name)) ?? [])
      .filter(({ parent }) => parent === postmaster)
    return (own.ticks + own.endedTicks + children.reduce((sum, { ticks }) => sum + ticks, 0)) / TICKS
  }
}

/** https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function stat(pid: number): { parent: number; ticks: number; endedTicks: number } | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // The name, in parentheses, may hold anything; the third field follows it.
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  const [utime, stime, cutime, cstime] = fields.slice(11, 15) as [number, number, number, number]
  return { parent: fields[1]!, ticks: utime + stime, endedTicks: cutime + cstime }
}
