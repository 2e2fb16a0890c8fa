import type { Connection } from '../connect.ts'
import { MigrationError } from '../errors.ts'
import { formatLsn, parseLsn, type Lsn } from '../lsn.ts'

/** A timeline of a server, and where the next one left it: each promotion of a standby begins a new one. */
export interface Timeline {
  id: number
  /** As text; undefined for the one that goes on. */
  end?: string
}

/** Which server this is, and the way its WAL has come. */
export interface SourceHistory {
  /** Made by initdb, and kept by every physical copy. */
  systemIdentifier: string
  /** From the oldest to the one that goes on. */
  timelines: Timeline[]
}

export interface SourceNow extends SourceHistory {
  flushLsn: Lsn
}

/**
 * Asks the server at the other end of a walsender connection, which every role with REPLICATION may.
 * https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-IDENTIFY-SYSTEM
 *
 * @throws {MigrationError} SourceHistoryMissing
 */
export async function readSourceHistory(walsender: Connection): Promise<SourceNow> {
  // The words of replication commands are recognized in upper case only.
  const { rows } = await walsender.query<{ systemid: string; timeline: string; xlogpos: string }>('IDENTIFY_SYSTEM')
  const { systemid, timeline, xlogpos } = rows[0]!
  const id = Number(timeline)
  // The first timeline has no history file.
  const before = id === 1 ? [] : await readHistoryFile(walsender, id)
  return { systemIdentifier: systemid, timelines: [...before, { id }], flushLsn: parseLsn(xlogpos) }
}

async function readHistoryFile(walsender: Connection, timeline: number): Promise<Timeline[]> {
  try {
    const { rows } = await walsender.query<{ content: string }>(`TIMELINE_HISTORY ${timeline}`)
    return parseHistory(rows[0]!.content)
  } catch (error) {
    throw new MigrationError(
      'SourceHistoryMissing',
      `The source is on timeline ${timeline}, and does not tell where that one began: whether it has all that the target has is not known.`,
      {
        hint: `Bring the file ${timeline.toString(16).toUpperCase().padStart(8, '0')}.history back into pg_wal of the source (from its archive); the migration then goes on by itself. Or cancel, and migrate this database anew.`,
        target: 'source',
        cause: error,
      },
    )
  }
}

/** Lines of "timeline, the LSN where it was left, why", oldest first. */
export function parseHistory(content: string): Timeline[] {
  return content
    .split('\n')
    .map((line) => /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line))
    .filter((match) => match !== null)
    .map((match) => ({ id: Number(match[1]), end: match[2]! }))
}

/** Up to where both have the same WAL; undefined when nothing parts them. Both begin with the same timeline. */
export function sharedUntil(one: readonly Timeline[], other: readonly Timeline[]): Lsn | undefined {
  let shared: Lsn | undefined
  for (const [i, { id, end }] of one.entries()) {
    const twin = other[i]
    // Timelines of the same number that began at different places have been parted by the one before.
    if (twin?.id !== id) return shared ?? 0n
    const ends = [end, twin.end].filter((text) => text !== undefined).map(parseLsn)
    if (ends.length === 0) return undefined
    shared = ends.reduce((a, b) => (a < b ? a : b))
    if (end !== twin.end) return shared
  }
  return shared
}

export type Continuation =
  | { goesOn: true; /** Everything from here on is of a timeline that was not known. */ partedAt?: Lsn }
  | { goesOn: false; error: MigrationError }

/**
 * Whether a server may be followed by a target that has changes of another history, none of them after `applied`. A standby
 * that was promoted may, when it has all of them; whether the slot came along is another question.
 */
export function continuation(recorded: SourceHistory, now: SourceNow, applied: Lsn, isStandby: boolean): Continuation {
  const stop = (code: string, message: string, hint: string, retryable = false): Continuation => ({
    goesOn: false,
    error: new MigrationError(code, message, { hint, retryable, target: 'source' }),
  })
  if (recorded.systemIdentifier !== now.systemIdentifier) {
    return stop(
      'SourceReplaced',
      `The address of the source leads to another server: its system identifier is ${now.systemIdentifier}, and the data was copied from ${recorded.systemIdentifier}. Nothing is read from it.`,
      'Let the address lead to the old server again, and the migration goes on by itself. If that one is gone (restored by pg_restore, upgraded by pg_upgrade), cancel, and migrate this database anew.',
      true,
    )
  }
  const partedAt = sharedUntil(recorded.timelines, now.timelines)
  const [was, is] = [recorded.timelines.at(-1)!.id, now.timelines.at(-1)!.id]
  if (partedAt !== undefined && applied > partedAt) {
    if (is < was) {
      return stop(
        'SourceIsOldPrimary',
        `The address of the source leads to its old primary: it is on timeline ${is}, and the target has changes of timeline ${was} up to ${formatLsn(applied)}. Nothing is read from it.`,
        'Let the address lead to the present primary, and the migration goes on by itself.',
        true,
      )
    }
    return stop(
      'SourceDiverged',
      `The source was failed over or restored (timeline ${is}, which begins at ${formatLsn(partedAt)}) and has lost changes that the target has: those up to ${formatLsn(applied)}.`,
      'The two sides differ for good: the data has to be copied anew. Start the migration of this database again. From PostgreSQL 17 on, synchronized_standby_slots keeps a target from being ahead of a standby.',
    )
  }
  if (now.flushLsn < applied) {
    if (isStandby) {
      return stop(
        'SourceBehind',
        `The source is a standby that has WAL up to ${formatLsn(now.flushLsn)}; the target has changes up to ${formatLsn(applied)}.`,
        'It is waited for. See that the standby receives WAL: select * from pg_stat_wal_receiver;',
        true,
      )
    }
    return stop(
      'SourceDiverged',
      `The source was set back: its WAL ends at ${formatLsn(now.flushLsn)}, and the target has changes up to ${formatLsn(applied)}.`,
      'A copy of its disk from an earlier time is running. The data has to be copied anew: start the migration of this database again.',
    )
  }
  return { goesOn: true, ...(partedAt === undefined ? {} : { partedAt }) }
}
