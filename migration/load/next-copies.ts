import type { PlannedCopy } from './planned-copy.ts'

/** A table that waits to be copied. */
export interface QueuedCopy extends PlannedCopy {
  /** In how many ranges; 1: as a whole. */
  ranges: number
  /** On the source's disk. */
  bytes: number
  /** It was in a group that failed: the failure has to find its table. */
  alone?: boolean
}

/** A table below it costs more to begin and to end than to copy. */
export const SMALL_TABLE_BYTES = 1024 ** 2
/** What a group that fails has copied in vain. */
const MAX_GROUP_BYTES = 16 * 1024 ** 2
/** Each holds a lock until the group is committed; the shared table has 64 for each connection. */
const MAX_GROUP_TABLES = 50
/** Fewer are copied one by one: a group saves nothing then, and each can be told by itself. */
const MIN_GROUP_TABLES = 10

/** Takes what is to be copied next off the front of the queue: one table, or a group of small ones. */
export function takeNextCopies(queue: QueuedCopy[]): QueuedCopy[] {
  let bytes = 0
  let tables = 0
  for (const copy of queue) {
    bytes += copy.bytes
    const fits = !copy.alone && copy.ranges === 1 && copy.bytes < SMALL_TABLE_BYTES && bytes <= MAX_GROUP_BYTES
    if (!fits || tables === MAX_GROUP_TABLES) break
    tables += 1
  }
  return queue.splice(0, tables < MIN_GROUP_TABLES ? 1 : tables)
}
