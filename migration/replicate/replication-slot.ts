import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, checkFence, type Lease } from '../control/lease.ts'
import { MigrationError, sqlState } from '../errors.ts'
import { waitingForTransactions } from '../load/slot-wait.ts'
import { parseLsn, type Lsn } from '../lsn.ts'
import { listTables } from '../load/tables.ts'
import { tableFilter } from '../model/table-filter.ts'
import { literal } from '../sql.ts'
import { recordSource } from './followed-source.ts'
import { recordPublications } from './made-publications.ts'
import { sampleSource } from './latency.ts'
import { readSourceDefinitions, type SourceDefinition } from './schema-change/source-definition.ts'
import { storeShapes } from './schema-change/table-shape.ts'
import { createPublications, dropPublications, listIdentified } from './publication.ts'
import { sourceObjects } from './slot-name.ts'
import { admitSource } from './source-admission.ts'
import { readSourceHistory, type SourceHistory } from './source-history.ts'

export interface SlotState {
  active: boolean
  activePid?: number
  /** reserved, extended, unreserved, lost; `unknown` before PostgreSQL 13. */
  walStatus: string
  /** WAL that the slot keeps on the source. */
  retainedBytes: number
  /** WAL that may still be written before the slot is in danger; undefined without max_slot_wal_keep_size. */
  safeWalBytes?: number
  /** What the client has acknowledged; of a new slot its consistent point. */
  confirmedFlushLsn: Lsn
  /** From here on the source keeps its WAL. */
  restartLsn: Lsn
  /** PostgreSQL 17: kept in step by this standby, and not to be read before it is promoted. */
  synced?: boolean
  /** PostgreSQL 17 and later, when the slot can't be used any more. */
  invalidationReason?: string
}

/** object_in_use: its walsender has not ended yet. */
const SLOT_ACTIVE = '55006'
/** undefined_object: there is no such slot. */
const NO_SUCH_SLOT = '42704'
/** configuration_limit_exceeded: max_replication_slots. */
const NO_FREE_SLOT = '53400'

/** ms; the walsender of a session that ended a moment ago goes by itself, a terminated one within milliseconds. */
const RELEASE_MS = 10_000

/**
 * Makes the publications and the persistent slot, and records the slot's consistent point P0 as the beginning
 * of replication; when that has been recorded already, they are used as they are.
 *
 * The publications come first: pgoutput looks for them in the catalog as it was at each change.
 *
 * @returns startLsn: P0
 * @throws {MigrationError} as admitSource() when replication had begun; Busy (retryable) when another
 *   copy is at work; NoFreeSlot (retryable); PublicationDenied
 */
export async function createPublicationAndSlot(
  context: DatabaseContext,
): Promise<{ slot: string; publication: string; startLsn: string }> {
  const names = sourceObjects(context.key, context.database)
  await using target = await context.target('slot')
  await using lease = await acquireLease(target, 'slot')
  if (!lease) throw new MigrationError('Busy', 'Another copy of this activity makes the slot.', { retryable: true })
  await using source = await context.source('slot')

  const { rows } = await target.query<{ start_lsn: string }>('select start_lsn from pgflex.progress where slot = $1', [
    names.slot,
  ])
  if (rows[0]) {
    await using walsender = await context.replication('slot')
    await admitSource(walsender, target, names.slot)
    return { slot: names.slot, publication: names.publication, startLsn: rows[0].start_lsn }
  }
  // A slot without a recorded beginning: an attempt died in between, and nothing has been copied under it.
  await dropSlot(source, names.slot)
  const filter = tableFilter(context.record.properties.pgflex)
  const listed = await listTables(source, filter)
  const tables = await listIdentified(
    source,
    listed.filter(({ unlogged }) => !unlogged),
  )
  // Before the slot: what changes after it is in the stream, and compared with this.
  const shapes = await readSourceDefinitions(
    source,
    listed.map(({ oid }) => oid),
  )
  const publications = await createPublications(source, names, tables)
  // At hand before there is a slot; asked after, so that what is recorded is never older than the slot.
  await using walsender = await context.replication('slot')
  const { time: caughtUpAt } = await sampleSource(source)
  const startLsn = await createSlot(context, source, names.slot)
  const { systemIdentifier, timelines } = await readSourceHistory(walsender)
  await target.query('set synchronous_commit = on')
  await recordBeginning(target, lease, {
    slot: names.slot,
    startLsn,
    publications,
    shapes: [...shapes.values()],
    history: { systemIdentifier, timelines },
    caughtUpAt,
  })
  await warnOfUnidentified(
    context,
    tables.filter(({ identified }) => !identified).map(({ schema, name }) => `${schema}.${name}`),
  )
  return { slot: names.slot, publication: names.publication, startLsn }
}

async function createSlot(context: DatabaseContext, source: Connection, slot: string): Promise<string> {
  await using _notice = waitingForTransactions(context)
  try {
    // A slot of a primary that standbys may keep in step, from PostgreSQL 17 on: it survives a failover.
    const { rows: server } = await source.query<{ failover: string }>(
      `select current_setting('server_version_num')::int >= 170000 and not pg_is_in_recovery() as failover`,
    )
    const { rows } = await source.query<{ lsn: string }>(
      `select lsn from pg_create_logical_replication_slot($1, 'pgoutput'${server[0]!.failover === 't' ? ', failover => true' : ''})`,
      [slot],
    )
    return rows[0]!.lsn
  } catch (error) {
    if (sqlState(error) !== NO_FREE_SLOT) throw error
    throw new MigrationError('NoFreeSlot', 'All replication slots of the source are in use.', {
      hint: 'Drop slots that nobody needs (select slot_name, plugin from pg_replication_slots where not active), or raise max_replication_slots.',
      retryable: true,
      target: 'source',
      cause: error,
    })
  }
}

interface Beginning {
  slot: string
  startLsn: string
  publications: Record<string, string>
  /** The tables as the source has them before the slot. */
  shapes: SourceDefinition[]
  history: SourceHistory
  /** Everything that had been committed at this time of the source's clock lies before the slot. */
  caughtUpAt: number
}

async function recordBeginning(
  target: Connection,
  lease: Lease,
  { slot, startLsn, publications, shapes, history, caughtUpAt }: Beginning,
): Promise<void> {
  await target.query('begin')
  try {
    await checkFence(target, lease)
    await target.query('insert into pgflex.progress (slot, start_lsn, applied_lsn) values ($1, $2, $2)', [
      slot,
      startLsn,
    ])
    await recordPublications(target, publications)
    await recordSource(target, slot, { history, acknowledgedLsn: parseLsn(startLsn), caughtUpAt })
    await storeShapes(target, shapes)
    await target.query('commit')
  } catch (error) {
    await target.query('rollback').catch(() => {})
    throw error
  }
}

async function warnOfUnidentified(context: DatabaseContext, tables: string[]): Promise<void> {
  if (tables.length === 0) return
  const warning =
    `Only INSERT and TRUNCATE are replicated for tables without a usable replica identity: ${tables.join(', ')}. ` +
    'They are copied again in whole at cutover, which costs downtime in proportion to their size. To spare it, ' +
    'cancel, give each a primary key (or: alter table … replica identity full;), and migrate anew.'
  await context.status((status) => ({ ...status, warnings: [...new Set([...status.warnings, warning])] }))
  await context.event({ level: 'warning', event: 'NoReplicaIdentity', message: warning })
}

/** Removes slot and publications; a walsender of ours that still uses the slot is ended. Can be repeated. */
export async function dropPublicationAndSlot(context: DatabaseContext): Promise<void> {
  const names = sourceObjects(context.key, context.database)
  await using source = await context.source('clean-up')
  await dropSlot(source, names.slot)
  await dropPublications(source, names)
}

async function dropSlot(source: Connection, slot: string): Promise<void> {
  const deadline = Date.now() + RELEASE_MS
  for (;;) {
    try {
      await source.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1', [
        slot,
      ])
      return
    } catch (error) {
      if (sqlState(error) === NO_SUCH_SLOT) return
      if (sqlState(error) !== SLOT_ACTIVE || Date.now() > deadline) throw error
      await endOwnWalsender(source, slot)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** Ends the session that uses the slot when it is one of pgflex, which runs under our own role. */
export async function endOwnWalsender(source: Connection, slot: string): Promise<void> {
  await source.query(
    `select pg_terminate_backend(a.pid)
       from pg_replication_slots s
       join pg_stat_activity a on a.pid = s.active_pid
      where s.slot_name = $1 and a.application_name like 'pgflex %'`,
    [slot],
  )
}

/** How the slot stands, or undefined when there is none. A walsender answers this too. */
export async function readSlot(source: Connection, slot: string): Promise<SlotState | undefined> {
  // Through JSON, since the columns differ between majors: https://www.postgresql.org/docs/current/view-pg-replication-slots.html
  const { rows } = await source.query<Record<string, string | null>>(
    `select active, active_pid, confirmed_flush_lsn, restart_lsn,
            to_jsonb(s) ->> 'wal_status' as wal_status,
            to_jsonb(s) ->> 'safe_wal_size' as safe_wal_size,
            to_jsonb(s) ->> 'synced' as synced,
            coalesce(to_jsonb(s) ->> 'invalidation_reason',
                     -- PostgreSQL 16 tells no reason; a logical slot in conflict with recovery has one of two.
                     case when (to_jsonb(s) ->> 'conflicting')::bool then 'rows_removed' end) as invalidation_reason,
            greatest(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                                          else pg_current_wal_lsn() end, restart_lsn), 0) as retained_bytes
       from pg_replication_slots s where slot_name = ${literal(slot)}`,
  )
  const row = rows[0]
  if (!row) return undefined
  return {
    active: row['active'] === 't',
    ...(row['active_pid'] ? { activePid: Number(row['active_pid']) } : {}),
    walStatus: row['wal_status'] ?? 'unknown',
    retainedBytes: Number(row['retained_bytes'] ?? 0),
    ...(row['safe_wal_size'] ? { safeWalBytes: Number(row['safe_wal_size']) } : {}),
    confirmedFlushLsn: parseLsn(row['confirmed_flush_lsn'] ?? '0/0'),
    restartLsn: parseLsn(row['restart_lsn'] ?? '0/0'),
    ...(row['synced'] === 'true' ? { synced: true } : {}),
    ...(row['invalidation_reason'] ? { invalidationReason: row['invalidation_reason'] } : {}),
  }
}
