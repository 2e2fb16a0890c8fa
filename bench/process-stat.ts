import { readFileSync } from 'node:fs'

/** Ticks in a second in /proc: USER_HZ, 100 on every architecture that Node runs on. */
const TICKS = 100

/** What a process has used so far. */
export interface ProcessStat {
  pid: number
  parent: number
  /** s of processor time of its own, all threads. */
  userSeconds: number
  systemSeconds: number
  /** s of its children that have ended and that it has waited for, theirs included. */
  endedUserSeconds: number
  endedSystemSeconds: number
}

/**
 * Reads /proc/PID/stat, or that of one of its threads.
 *
 * @returns undefined when there is no such process, or no /proc
 */
export function processStat(pid: number, thread?: number): ProcessStat | undefined {
  const text = read(thread === undefined ? `/proc/${pid}/stat` : `/proc/${pid}/task/${thread}/stat`)
  if (text === undefined) return undefined
  // https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
  // The name, in parentheses, may hold anything; the third field follows it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const seconds = (field: number): number => Number(fields[field]) / TICKS
  return {
    pid,
    parent: Number(fields[1]),
    userSeconds: seconds(11),
    systemSeconds: seconds(12),
    endedUserSeconds: seconds(13),
    endedSystemSeconds: seconds(14),
  }
}

/** The command line, or the title that the process has given itself. */
export function processTitle(pid: number): string {
  return (read(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ').trim()
}

/** Bytes of memory that it holds at the moment; what it shares with others is divided among them. */
export function residentBytes(pid: number): number {
  return kilobytes(/^Pss:\s+(\d+) kB$/m, `/proc/${pid}/smaps_rollup`) ?? 0
}

/**
 * The most memory that this process has held, bytes. getrusage() counts what the parent held when it made this
 * process; /proc does not.
 */
export function ownPeakBytes(): number {
  return kilobytes(/^VmHWM:\s+(\d+) kB$/m, '/proc/self/status') ?? process.resourceUsage().maxRSS * 1024
}

function kilobytes(line: RegExp, path: string): number | undefined {
  const found = line.exec(read(path) ?? '')
  return found ? Number(found[1]) * 1024 : undefined
}

/** A process and all that descend from it, as far as their parents live. */
export function processTree(root: number): number[] {
  const children = read(`/proc/${root}/task/${root}/children`)
  return children === undefined ? [] : [root, ...children.split(' ').filter(Boolean).map(Number).flatMap(processTree)]
}

/** s of all processors together since the machine began: at work for anybody, and in all. */
export function machineSeconds(): { busy: number; all: number } | undefined {
  const text = read('/proc/stat')
  if (text === undefined) return undefined
  // https://man7.org/linux/man-pages/man5/proc_stat.5.html: user nice system idle iowait irq softirq steal;
  // what follows is contained in the first two.
  const ticks = text.split('\n')[0]!.trim().split(/\s+/).slice(1, 9).map(Number)
  const all = ticks.reduce((sum, one) => sum + one, 0)
  return { busy: (all - ticks[3]! - ticks[4]!) / TICKS, all: all / TICKS }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined
  }
}
