import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { acquireLease, checkFence, type Lease } from '../control/lease.ts'
import { MigrationError, sqlState } from '../errors.ts'
import { waitingForTransactions } from '../load/slot-wait.ts'
import { listTables } from '../load/tables.ts'
import { tableFilter } from '../model/table-filter.ts'
import { recordPublications } from './made-publications.ts'
import { readSourceDefinitions, type SourceDefinition } from './schema-change/source-definition.ts'
import { storeShapes } from './schema-change/table-shape.ts'
import { createPublications, dropPublications, listIdentified } from './publication.ts'
import { sourceObjects } from './slot-name.ts'

export interface SlotState {
  active: boolean
  activePid?: number
  /** reserved, extended, unreserved, lost; `unknown` before PostgreSQL 13. */
  walStatus: string
  /** WAL that the slot keeps on the source. */
  retainedBytes: number
  confirmedFlushLsn: string
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
 * @throws {MigrationError} SlotLost when replication had begun and the slot is gone; Busy (retryable) when another
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
  const state = await readSlot(source, names.slot)
  if (rows[0]) {
    if (!isUsable(state)) throw slotLost(names.slot, state)
    return { slot: names.slot, publication: names.publication, startLsn: rows[0].start_lsn }
  }
  // A slot without a recorded beginning: an attempt died in between, and nothing has been copied under it.
  if (state) await dropSlot(source, names.slot)
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
  const startLsn = await createSlot(context, source, names.slot)
  await recordBeginning(target, lease, { slot: names.slot, startLsn, publications, shapes: [...shapes.values()] })
  await warnOfUnidentified(
    context,
    tables.filter(({ identified }) => !identified).map(({ schema, name }) => `${schema}.${name}`),
  )
  return { slot: names.slot, publication: names.publication, startLsn }
}

async function createSlot(context: DatabaseContext, source: Connection, slot: string): Promise<string> {
  await using _notice = waitingForTransactions(context)
  try {
    const { rows } = await source.query<{ lsn: string }>(
      `select lsn from pg_create_logical_replication_slot($1, 'pgoutput')`,
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

async function recordBeginning(
  target: Connection,
  lease: Lease,
  {
    slot,
    startLsn,
    publications,
    shapes,
  }: { slot: string; startLsn: string; publications: Record<string, string>; shapes: SourceDefinition[] },
): Promise<void> {
  await target.query('begin')
  try {
    await checkFence(target, lease)
    await target.query('insert into pgflex.progress (slot, start_lsn, applied_lsn) values ($1, $2, $2)', [
      slot,
      startLsn,
    ])
    await recordPublications(target, publications)
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

/** How the slot stands, or undefined when there is none. */
export async function readSlot(source: Connection, slot: string): Promise<SlotState | undefined> {
  // Through JSON, since the columns differ between majors: https://www.postgresql.org/docs/current/view-pg-replication-slots.html
  const { rows } = await source.query<Record<string, string | null>>(
    `select active, active_pid, confirmed_flush_lsn,
            to_jsonb(s) ->> 'wal_status' as wal_status,
            to_jsonb(s) ->> 'invalidation_reason' as invalidation_reason,
            greatest(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                                          else pg_current_wal_lsn() end, restart_lsn), 0) as retained_bytes
       from pg_replication_slots s where slot_name = $1`,
    [slot],
  )
  const row = rows[0]
  if (!row) return undefined
  return {
    active: row['active'] === 't',
    ...(row['active_pid'] ? { activePid: Number(row['active_pid']) } : {}),
    walStatus: row['wal_status'] ?? 'unknown',
    retainedBytes: Number(row['retained_bytes'] ?? 0),
    confirmedFlushLsn: row['confirmed_flush_lsn'] ?? '0/0',
    ...(row['invalidation_reason'] ? { invalidationReason: row['invalidation_reason'] } : {}),
  }
}

export function isUsable(state: SlotState | undefined): state is SlotState {
  return state !== undefined && state.walStatus !== 'lost' && state.invalidationReason === undefined
}

/** The changes since the slot's last confirmed position are gone with it: only a new copy is exact. */
export function slotLost(slot: string, state: SlotState | undefined): MigrationError {
  const why = state
    ? `was invalidated by the source (${state.invalidationReason ?? state.walStatus})`
    : 'is no longer there'
  return new MigrationError('SlotLost', `The replication slot ${slot} ${why}; changes of the source are missing.`, {
    hint: 'The data has to be copied anew: start the migration again. Raise max_slot_wal_keep_size if WAL was removed.',
    target: 'source',
  })
}
