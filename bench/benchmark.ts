import type { Command } from 'commander'

/** What a benchmark gets besides its options. */
export interface Surroundings {
  /** Aborted by Ctrl-C: everything is taken down. */
  signal: AbortSignal
  /** Tells on stderr what goes on. */
  say: (text: string) => void
}

export interface Outcome {
  /** What `--json` prints. */
  result: { benchmark: string; ok: boolean }
  /** The same for a reader. */
  lines: string[]
}

/** One of the benchmarks of `npm run bench`. */
export interface Benchmark {
  /** Its name, description and options. */
  command: Command
  run(command: Command, surroundings: Surroundings): Promise<Outcome>
}
