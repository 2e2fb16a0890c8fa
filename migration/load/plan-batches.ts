export interface BatchOptions {
  /** How many batches will be copied at a time. */
  jobs: number
}

/** A table of this size is worth a snapshot of its own, which takes about 10 ms to make. */
const MAX_BATCH_BYTES = 64 * 1024 ** 2
/** Below it, more batches would only mean more snapshots. */
const MIN_BATCH_BYTES = 1024 ** 2
/** 10,000 tables in 40 batches; one small table takes some milliseconds, a batch of them about a second. */
const MAX_BATCH_TABLES = 250
const MIN_BATCH_TABLES = 25
/** So many batches for each job that the last ones end at about the same time. */
const BATCHES_PER_JOB = 4

/**
 * Divides tables into batches that share one snapshot: big tables alone, small ones together, biggest first.
 *
 * @returns for each batch its tables, in the order in which they should be copied
 */
export function planBatches<T extends { bytes: number }>(tables: readonly T[], { jobs }: BatchOptions): T[][] {
  const share = BATCHES_PER_JOB * Math.max(jobs, 1)
  const total = tables.reduce((sum, { bytes }) => sum + bytes, 0)
  const maxBytes = clamp(total / share, MIN_BATCH_BYTES, MAX_BATCH_BYTES)
  const maxTables = clamp(Math.ceil(tables.length / share), MIN_BATCH_TABLES, MAX_BATCH_TABLES)

  const batches: T[][] = []
  let bytes = 0
  for (const table of tables.toSorted((a, b) => b.bytes - a.bytes)) {
    const batch = batches.at(-1)
    if (batch !== undefined && batch.length < maxTables && bytes + table.bytes <= maxBytes) {
      batch.push(table)
      bytes += table.bytes
    } else {
      batches.push([table])
      bytes = table.bytes
    }
  }
  return batches
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most)
}
