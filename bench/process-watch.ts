import type { EmbeddedServer } from '../demo/embedded-postgres.ts'
import { machineSeconds, processStat, processTitle, processTree, residentBytes } from './process-stat.ts'

/** A program whose processes are watched. */
export interface Watched {
  /** Process id of its first process; undefined while there is none. */
  root: () => number | undefined
  /** Names one of its processes for a reader, given its title. */
  nameOf: (title: string) => string
  /** Whether its memory is looked at, too; that of a server is one of its settings. */
  memory?: boolean
}

/** What a program has used while it was watched. */
export interface Use {
  /** s of processor time of all its processes. */
  userSeconds: number
  systemSeconds: number
  /** The most that its processes held at one time, memory that they share counted once; 0 where it was not looked at. */
  peakRssBytes: number
}

/** How much of the time a process was at work. */
export interface Busy {
  process: string
  /** s of processor time by s of the clock: 1 is a processor of its own all the time. */
  share: number
}

export interface WatchResult {
  /** Of each program, in the order given; null where it can't be told. */
  uses: (Use | null)[]
  /** The busiest of the processes of one name, busiest names first. */
  busy: Busy[]
  /** The same for all processors of the machine, other programs included; null where it can't be told. */
  machine: number | null
}

/** ms between two looks; what a process does after the last look before its end is missed, unless its parent waits for it. */
const LOOK_MS = 200

/** Watches the processes of some programs until it is told to stop. Without /proc it sees nothing. */
export function watchProcesses(programs: readonly Watched[]): Disposable & { end(): WatchResult } {
  const began = performance.now()
  const machineBefore = machineSeconds()
  const seen = programs.map(() => new Map<number, { title: string; first: number; last: number }>())
  const sums = programs.map(() => undefined as { before: Use; now: Use } | undefined)
  look(true)
  const timer = setInterval(() => look(false), LOOK_MS)

  function look(first: boolean): void {
    programs.forEach(({ root, memory }, i) => {
      const pid = root()
      if (pid === undefined) return
      const now: Use = { userSeconds: 0, systemSeconds: 0, peakRssBytes: 0 }
      for (const one of processTree(pid)) {
        const stat = processStat(one)
        // A program of one process with helpers, such as Node, is as fast as its first thread.
        const main = processStat(one, one)
        if (!stat || !main) continue
        now.userSeconds += stat.userSeconds + stat.endedUserSeconds
        now.systemSeconds += stat.systemSeconds + stat.endedSystemSeconds
        if (memory) now.peakRssBytes += residentBytes(one)
        const seconds = main.userSeconds + main.systemSeconds
        const known = seen[i]!.get(one)
        // A process that came later began at nothing. Titles change: the latest counts, unless it is about to end.
        const title = processTitle(one) || (known?.title ?? '')
        seen[i]!.set(one, { title, first: known?.first ?? (first ? seconds : 0), last: seconds })
      }
      const none = { userSeconds: 0, systemSeconds: 0, peakRssBytes: 0 }
      const before = sums[i]?.before ?? (first ? { ...now, peakRssBytes: 0 } : none)
      sums[i] = {
        before,
        now: {
          userSeconds: Math.max(now.userSeconds, sums[i]?.now.userSeconds ?? 0),
          systemSeconds: Math.max(now.systemSeconds, sums[i]?.now.systemSeconds ?? 0),
          peakRssBytes: Math.max(now.peakRssBytes, sums[i]?.now.peakRssBytes ?? 0),
        },
      }
    })
  }

  return {
    [Symbol.dispose]() {
      clearInterval(timer)
    },
    end() {
      clearInterval(timer)
      look(false)
      const elapsed = (performance.now() - began) / 1000
      const machineAfter = machineSeconds()
      const shares = new Map<string, number>()
      programs.forEach(({ nameOf }, i) => {
        for (const { title, first, last } of seen[i]!.values()) {
          if (title === '') continue
          const name = nameOf(title)
          shares.set(name, Math.max(shares.get(name) ?? 0, (last - first) / elapsed))
        }
      })
      return {
        uses: sums
          .map(
            (sum) =>
              sum && {
                userSeconds: sum.now.userSeconds - sum.before.userSeconds,
                systemSeconds: sum.now.systemSeconds - sum.before.systemSeconds,
                peakRssBytes: sum.now.peakRssBytes,
              },
          )
          .map((use) => use ?? null),
        busy: [...shares].map(([process, share]) => ({ process, share })).toSorted((a, b) => b.share - a.share),
        machine:
          machineBefore && machineAfter && machineAfter.all > machineBefore.all
            ? (machineAfter.busy - machineBefore.busy) / (machineAfter.all - machineBefore.all)
            : null,
      }
    },
  }
}

/** All processes of a server. @param side what it is for the reader: `source` */
export async function watchedServer(server: EmbeddedServer, side: string): Promise<Watched> {
  await using client = await server.connect()
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  const postmaster = processStat(rows[0]!.pid)?.parent
  return { root: () => postmaster, nameOf: (title) => `${side} ${serverProcess(title)}` }
}

/** Titles are made in src/backend/utils/misc/ps_status.c and by each kind of process: `postgres: walsender ...`. */
function serverProcess(title: string): string {
  if (title.startsWith('postgres: walsender ')) return 'decoding'
  if (title.startsWith('postgres: logical replication ')) return 'apply worker'
  const own = /^postgres: (checkpointer|background writer|walwriter|autovacuum \w+|parallel worker)/.exec(title)
  if (own) return own[1]!
  return title.startsWith('postgres: ') ? 'session' : 'postmaster'
}
