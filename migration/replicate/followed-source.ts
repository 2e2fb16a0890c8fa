import type { Connection } from '../connect.ts'
import { MigrationError } from '../errors.ts'
import { formatLsn, parseLsn, type Lsn } from '../lsn.ts'
import type { SourceHistory } from './source-history.ts'

/** What the target knows of the source that it follows: a row of pgflex.source. */
export interface FollowedSource {
  history: SourceHistory
  /** End of the last applied commit: everything before it is on the target. */
  appliedLsn: Lsn
  /** The target has nothing from after it: it lies after the last applied commit and the snapshots of all tables. */
  newestLsn: Lsn
  /**
   * Nothing after it has ever been acknowledged to the slot. It is written before the source is told, so that
   * a slot which stands after it is not the one that we have read: changes are missing.
   */
  acknowledgedLsn: Lsn
  /** The target had everything that had been committed at this time of the source's clock, ms. */
  caughtUpAt: number
}

/** Call it in the transaction that records the beginning of replication. */
export async function recordSource(
  target: Connection,
  slot: string,
  source: Omit<FollowedSource, 'appliedLsn' | 'newestLsn'>,
): Promise<void> {
  await target.query(
    `insert into pgflex.source (slot, system_identifier, timelines, acknowledged_lsn, caught_up_at)
     values ($1, $2, $3, $4, to_timestamp($5::float8 / 1000))
         on conflict (slot) do update
             set (system_identifier, timelines, acknowledged_lsn, caught_up_at) =
                 (excluded.system_identifier, excluded.timelines, excluded.acknowledged_lsn, excluded.caught_up_at)`,
    [
      slot,
      source.history.systemIdentifier,
      JSON.stringify(source.history.timelines),
      formatLsn(source.acknowledgedLsn),
      source.caughtUpAt,
    ],
  )
}

export async function readFollowedSource(target: Connection, slot: string): Promise<FollowedSource | undefined> {
  const { rows } = await target.query<Record<'identifier' | 'timelines' | 'lsn' | 'applied' | 'newest' | 'at', string>>(
    `select system_identifier as identifier, timelines, acknowledged_lsn as lsn,
            applied_lsn as applied,
            greatest(applied_lsn, (select max(snapshot_lsn) from pgflex.table_copy)) as newest,
            extract(epoch from caught_up_at) * 1000 as at
       from pgflex.source join pgflex.progress using (slot)
      where slot = $1`,
    [slot],
  )
  const row = rows[0]
  if (!row) return undefined
  return {
    history: {
      systemIdentifier: row.identifier,
      timelines: JSON.parse(row.timelines) as SourceHistory['timelines'],
    },
    appliedLsn: parseLsn(row.applied),
    newestLsn: parseLsn(row.newest),
    acknowledgedLsn: parseLsn(row.lsn),
    caughtUpAt: Number(row.at),
  }
}

/**
 * Records a new history before anything of it is applied. What was acknowledged on the old one counts up to where
 * the two part. A copy of this activity that was frozen before a failover finds another history, and changes nothing.
 *
 * @throws {MigrationError} Busy (retryable)
 */
export async function recordHistory(
  target: Connection,
  slot: string,
  { was, is, partedAt }: { was: SourceHistory; is: SourceHistory; partedAt: Lsn },
): Promise<void> {
  const { rowCount } = await target.query(
    `update pgflex.source
        set timelines = $3, acknowledged_lsn = least(acknowledged_lsn, $4)
      where slot = $1 and timelines = $2::jsonb`,
    [slot, JSON.stringify(was.timelines), JSON.stringify(is.timelines), formatLsn(partedAt)],
  )
  if (rowCount === 0) {
    throw new MigrationError('Busy', 'Another copy of this activity follows the source after its failover.', {
      retryable: true,
    })
  }
}

/** Call it before the source is told; the answer to an LSN of a history that is over is that nothing was written. */
export async function recordAcknowledged(
  target: Connection,
  slot: string,
  { history, lsn, caughtUpAt }: { history: SourceHistory; lsn: Lsn; caughtUpAt: number },
): Promise<boolean> {
  const { rowCount } = await target.query(
    `update pgflex.source
        set acknowledged_lsn = greatest(acknowledged_lsn, $3),
            caught_up_at     = greatest(caught_up_at, to_timestamp($4::float8 / 1000))
      where slot = $1 and timelines = $2::jsonb`,
    [slot, JSON.stringify(history.timelines), formatLsn(lsn), caughtUpAt],
  )
  return rowCount === 1
}
