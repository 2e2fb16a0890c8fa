import { Command, Option } from 'commander'
import { someOf, wholeNumber } from '../options.ts'
import type { NativeCommit } from './native-applier.ts'
import { SESSIONS, SHAPES, type ShapeName } from './shape.ts'

/** `latency` is measured under a running workload, the others on a backlog. */
const PARTS = [...SHAPES, 'latency'] as const
export type Part = ShapeName | 'latency'

export interface ReplicateOptions {
  sourceMajor: number
  targetMajor: number
  rounds: number
  /** Of a backlog of small transactions. */
  transactions: number
  /** That make a backlog of small transactions at the same time. */
  sessions: number
  /** Of a backlog of one large transaction. */
  rows: number
  /** How long the latency is measured. */
  seconds: number
  shapes: Part[]
  nativeCommit: NativeCommit
  /** Stopped when it takes so many times as long as native; 0 leaves pgcopydb out. */
  pgcopydbLimit: number
  /** pgflex marks all changes, as after a comparison in the background. */
  marked?: boolean
  /** Folder for profiles of pgflex. */
  cpuProf?: string
}

export function replicateCommand(): Command {
  return new Command('replicate')
    .description(
      'Applies the same backlog of changes by pgflex, PostgreSQL itself and pgcopydb, and follows under load.',
    )
    .option('--rounds <number>', 'backlogs of each shape', wholeNumber, 3)
    .option('--transactions <number>', 'transactions of a backlog of small ones', wholeNumber, 100_000)
    .option('--sessions <number>', 'sessions that make them at the same time', wholeNumber, SESSIONS)
    .option('--rows <number>', 'rows of a backlog of one large transaction', wholeNumber, 1_000_000)
    .option('--seconds <number>', 'how long the latency is measured', wholeNumber, 30)
    .option('--shapes <names>', `some of ${PARTS.join(',')}`, someOf(PARTS), [...PARTS])
    .option('--source-major <number>', 'PostgreSQL major of the source', wholeNumber, 15)
    .option('--target-major <number>', 'PostgreSQL major of the target', wholeNumber, 17)
    .addOption(
      new Option('--native-commit <setting>', 'synchronous_commit of the native subscription')
        .choices(['on', 'off'])
        .default('off'),
    )
    .option('--pgcopydb-limit <times>', 'stop pgcopydb after so many times of native; 0 leaves it out', times, 5)
    .option('--marked', 'let pgflex mark all changes, as it does after a comparison in the background')
    .option('--cpu-prof <folder>', 'write processor profiles of pgflex there')
}

function times(text: string): number {
  return text === '0' ? 0 : wholeNumber(text)
}
