import type { DatabaseContext } from '../context.ts'
import { errorText } from '../errors.ts'
import type { Lsn } from '../lsn.ts'
import { requirePublications } from '../replicate/made-publications.ts'
import { readProgress } from '../replicate/progress.ts'
import type { ReplicationStream } from '../replicate/replication-stream.ts'
import { hasUnshownChanges } from '../replicate/schema-change/unshown-changes.ts'
import { sourceObjects } from '../replicate/slot-name.ts'
import type { StreamMessage } from '../replicate/walsender-messages.ts'
import { drain } from './drain.ts'
import { takeEndLsn } from './end-lsn.ts'
import { lateWrites } from './late-writers.ts'

const CHANGES = new Set<StreamMessage['kind']>(['insert', 'update', 'delete', 'truncate'])
/** ms between questions to the source for how far it has sent. */
const ASK_MS = 20
/** ms for the source to answer; it has nothing else to send. */
const ANSWER_MS = 5_000

/**
 * Whatever was committed after the end LSN came from somebody whom the freeze, or the user, has not stopped.
 *
 * @param stream what follows the end, not read yet: when no row comes in it, nothing has to be followed once more
 * @param end where they begin; undefined when none can have been applied so far
 * @throws {MigrationError} LateWrites
 */
export async function refuseLateWrites(
  context: DatabaseContext,
  stream: ReplicationStream | undefined,
  end?: Lsn,
): Promise<void> {
  if (end !== undefined && (await hasApplied(context, end))) throw await lateWrites(context, 'Some')
  const until = await takeEndLsn(context)
  if (stream && (await isQuiet(context, stream, until))) return
  await stream?.[Symbol.asyncDispose]()
  const changes = await drain(context, until)
  if (changes > 0) throw await lateWrites(context, changes)
}

/** Whoever applied them may have died before it could tell: in the drain, or in an earlier check. */
async function hasApplied(context: DatabaseContext, end: Lsn): Promise<boolean> {
  await using target = await context.target('late writes')
  const { appliedLsn } = await readProgress(target, sourceObjects(context.key, context.database).slot)
  return appliedLsn > end
}

/** @returns false also when it cannot be told from this stream */
async function isQuiet(context: DatabaseContext, stream: ReplicationStream, until: Lsn): Promise<boolean> {
  try {
    if (!(await isSilentUntil(stream, until, performance.now() + ANSWER_MS))) return false
    // PostgreSQL 18 goes on without a publication that is dropped under way.
    await using source = await context.source('late writes')
    await using target = await context.target('late writes')
    await requirePublications(source, target, sourceObjects(context.key, context.database))
    return !(await hasUnshownChanges(source, target))
  } catch (error) {
    context.log.info('Late writes are looked for in a new stream', {
      database: context.database,
      reason: errorText(error),
    })
    return false
  }
}

/** True when the source has sent all that it committed before this LSN, and no change was among it. */
async function isSilentUntil(stream: ReplicationStream, until: Lsn, deadline: number): Promise<boolean> {
  let inTransaction = false
  while (performance.now() < deadline) {
    stream.ping()
    for (const message of await stream.read(ASK_MS)) {
      const { kind } = message
      if (kind === 'begin') inTransaction = true
      else if (kind === 'commit') inTransaction = false
      else if (CHANGES.has(kind)) return false
      // In the middle of a transaction it tells how far the source is, not what it has sent.
      else if (kind === 'keepalive' && !inTransaction && message.walEnd >= until) return true
    }
  }
  return false
}
