import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import {
  controlSchemaOwner,
  createControlSchema,
  dropControlSchema,
  isStepDone,
  markStepDone,
} from '../control/control-schema.ts'
import { acquireLease, checkFence, leaseLost, type Lease } from '../control/lease.ts'
import { takeEndLsn } from '../cutover/end-lsn.ts'
import { connectIfThere } from '../cutover/target-if-there.ts'
import { errorText, MigrationError, sqlState } from '../errors.ts'
import { CARRIED_ROWS } from '../load/copy-extension-tables.ts'
import { listTableNames, type ListedTable, type TableName } from '../load/tables.ts'
import { formatLsn } from '../lsn.ts'
import { fallbackIsOn } from '../model/fallback.ts'
import { newDatabaseStatus } from '../model/status.ts'
import { tableFilter } from '../model/table-filter.ts'
import { sampleSource } from '../replicate/latency.ts'
import { createPublicationAndSlot, dropPublicationAndSlot } from '../replicate/replication-slot.ts'
import { readSourceDefinitions } from '../replicate/schema-change/source-definition.ts'
import { storeShapes } from '../replicate/schema-change/table-shape.ts'
import { sourceObjects } from '../replicate/slot-name.ts'
import { readDatabaseStatus } from '../store/migrations.ts'
import { requireApplyRights } from './apply-rights.ts'
import { backKey, reversed, tellingSides } from './reversed-context.ts'

/**
 * s; making a slot waits for every transaction that is open on the new server, whoever's and in whatever database.
 * Nothing is frozen yet, but nothing is followed either: after so long the cutover is called off.
 */
const SLOT_LIMIT = 30
/** query_canceled: by statement_timeout */
const QUERY_CANCELED = '57014'

const preparedStep = (attempt: string): string => `way back of ${attempt}`
const BEGUN = 'way back begun'

export function wantsWayBack({ record }: DatabaseContext): boolean {
  return record.properties.pgflex.fallback === 'ReverseReplication'
}

/**
 * Prepares the way back before the freeze, since making a slot has to wait for others: publications and slot on the
 * new server, and the control schema on the old one. What comes back begins later: {@link beginWayBack}.
 *
 * It belongs to one attempt to cut over; what another one has left is removed and made anew.
 *
 * @param attempt names the attempt to cut over
 * @param lease of the cutover, in the control schema of `target`
 * @throws {MigrationError} FallbackDenied, FallbackSlotWaits, ControlSchemaTaken; those of createPublicationAndSlot()
 */
export function prepareWayBack(
  context: DatabaseContext,
  attempt: string,
  lease: Lease,
  target: Connection,
): Promise<object> {
  return tellingSides(() => prepare(context, attempt, lease, target))
}

async function prepare(context: DatabaseContext, attempt: string, lease: Lease, target: Connection): Promise<object> {
  const back = reversed(context)
  await using old = await back.target('way back')
  await requireApplyRights(old)
  if ((await controlSchemaOwner(old)) !== back.key || !(await isStepDone(old, preparedStep(attempt)))) {
    await checkFence(target, lease)
    await removeWayBack(context, { lease, target })
    // Before anything is made: whoever has to remove it looks here.
    await back.status({ phase: 'CreatingSlot' })
    await createControlSchema(old, back.key)
    await markStepDone(old, preparedStep(attempt))
  }
  try {
    const { slot, startLsn } = await createPublicationAndSlot(waitingAtMost(back))
    return { slot, startLsn }
  } catch (error) {
    // This copy stood still while another one removed all: nobody knows of a slot that it has made since then.
    if ((await controlSchemaOwner(old).catch(() => back.key)) === undefined) await dropPublicationAndSlot(back)
    if (sqlState(error) !== QUERY_CANCELED) throw error
    throw new MigrationError(
      'FallbackSlotWaits',
      `A transaction that is open on the new server kept the slot of the way back waiting for ${SLOT_LIMIT} s: ${errorText(error)}.`,
      {
        hint: 'Wait until it has ended (other databases that are being loaded, index builds, idle sessions: select pid, datname, usename, xact_start from pg_stat_activity where backend_xid is not null), and cut over again.',
        cause: error,
      },
    )
  }
}

function waitingAtMost(back: DatabaseContext): DatabaseContext {
  return {
    ...back,
    async source(purpose) {
      const connection = await back.source(purpose)
      await connection.query(`set statement_timeout = '${SLOT_LIMIT}s'`)
      return connection
    },
  }
}

/**
 * Says from where changes come back. Call it when both sides are frozen and equal: all that the new server has
 * committed before this place came from the old one, and what it commits after it is for the old one.
 *
 * Done once: somebody who stood still and comes here later, when applications write on the new server, changes nothing.
 *
 * @param attempt as in {@link prepareWayBack}
 * @throws {MigrationError} LeaseLost when another attempt has begun
 */
export function beginWayBack(context: DatabaseContext, attempt: string): Promise<object> {
  return tellingSides(() => begin(context, attempt))
}

async function begin(context: DatabaseContext, attempt: string): Promise<object> {
  const back = reversed(context)
  const { slot } = sourceObjects(back.key, back.database)
  await using old = await back.target('way back')
  await using source = await back.source('way back')
  const { time } = await sampleSource(source)
  const lsn = formatLsn(await takeEndLsn(back))
  const tables = await tablesOfBoth(back, source, old)
  // Not those of the time when the slot was made: the drain may have brought changes of tables since then.
  const shapes = await readSourceDefinitions(
    source,
    tables.map(({ oid }) => Number(oid)),
  )
  const { rows: carried } = await source.query<{ name: string }>(
    `select name from pgflex.step where starts_with(name, $1)`,
    [CARRIED_ROWS],
  )
  await old.query('set synchronous_commit = on')
  await old.query('begin')
  try {
    // Each attempt has a control schema of its own: this copy may have stood still since an earlier one.
    if (!(await isStepDone(old, preparedStep(attempt)))) throw leaseLost('cutover')
    const { rowCount } = await old.query('insert into pgflex.step (name) values ($1) on conflict (name) do nothing', [
      BEGUN,
    ])
    if (rowCount === 1) {
      await old.query('update pgflex.progress set applied_lsn = $2 where slot = $1', [slot, lsn])
      await old.query('update pgflex.source set caught_up_at = to_timestamp($2::float8 / 1000) where slot = $1', [
        slot,
        time,
      ])
      await old.query(
        `insert into pgflex.table_copy (schema_name, table_name, batch, state, snapshot_lsn)
         select schema_name, table_name, 0, 'completed', $3
           from unnest($1::text[], $2::text[]) as t (schema_name, table_name)`,
        [tables.map(({ schema }) => schema), tables.map(({ name }) => name), lsn],
      )
      await storeShapes(old, [...shapes.values()])
      // Equal by now: at a switch back the rows of the old server are ours to replace.
      for (const { name } of carried) await markStepDone(old, name)
    }
    await old.query('commit')
  } catch (error) {
    await old.query('rollback').catch(() => {})
    throw error
  }
  return { slot, lsn }
}

/** They are as good as copied. One that only the new server has is a new table, and is taken along as such. */
async function tablesOfBoth(back: DatabaseContext, source: Connection, old: Connection): Promise<ListedTable[]> {
  const filter = tableFilter(back.record.properties.pgflex)
  const keyOf = ({ schema, name }: TableName): string => JSON.stringify([schema, name])
  const there = new Set((await listTableNames(old, filter)).map(keyOf))
  return (await listTableNames(source, filter)).filter((table) => there.has(keyOf(table)))
}

/** A cutover's lease, with a session of its holder in the same database. */
interface Held {
  lease: Lease
  target: Connection
}

/**
 * Removes the way back of a cutover that did not happen, if there is one. Can be repeated: its status goes last. The
 * slot goes first, since nothing else of it fills a disk.
 *
 * @param held where another attempt may begin meanwhile: a copy that stands still until then removes nothing of it
 */
export async function removeWayBack(context: DatabaseContext, held?: Held): Promise<void> {
  if (!wantsWayBack(context)) return
  const back = reversed(context)
  const { phase } = await readDatabaseStatus(context.documents, back.key, context.database)
  if (phase === 'Queued') return
  await dropBackSlot(held ? endedBySuccessor(back, held.lease) : back)
  if (held) await checkFence(held.target, held.lease)
  await removeBackSchema(context)
  if (held) await checkFence(held.target, held.lease)
  await back.status(() => newDatabaseStatus(context.database))
}

/** Its sessions on the new server end when the lease is taken over: nothing is dropped after that. */
function endedBySuccessor(back: DatabaseContext, lease: Lease): DatabaseContext {
  return {
    ...back,
    async source(purpose) {
      const session = await back.source(purpose)
      try {
        await lease.addSession(session)
        return session
      } catch (error) {
        await session[Symbol.asyncDispose]()
        throw error
      }
    },
  }
}

/**
 * Removes a way back that has outlived its cutover: its slot would keep WAL on the target for nobody. Tried again with
 * each slice of following, since a server may be away.
 */
export async function removeLeftWayBack(context: DatabaseContext): Promise<void> {
  if (!wantsWayBack(context)) return
  const { documents, key, database, log } = context
  const isLeft = async (): Promise<boolean> => {
    const { cutover, calledOff } = await readDatabaseStatus(documents, key, database)
    return cutover === undefined && calledOff === undefined
  }
  const { phase } = await readDatabaseStatus(documents, backKey(key), database)
  if (phase !== 'CreatingSlot' || !(await isLeft())) return
  try {
    await using target = await context.target('way back')
    // A copy of this activity that stood still until the next cutover is none that removes.
    await using lease = await acquireLease(target, 'cutover')
    if (lease && (await isLeft())) await removeWayBack(context, { lease, target })
  } catch (error) {
    log.warn('The way back could not be removed; it is tried again with each slice', {
      database,
      error: errorText(error),
    })
  }
}

/** Whether the database was cut over with a way back that has not ended. */
export async function isWayBackOn(context: DatabaseContext): Promise<boolean> {
  if (!wantsWayBack(context)) return false
  const { documents, key, database } = context
  const [status, back] = await Promise.all(
    [key, backKey(key)].map((one) => readDatabaseStatus(documents, one, database)),
  )
  return fallbackIsOn({ status: status!, back: back! })
}

/** Drops slot and publications on the new server; a database that has a slot cannot have been dropped. */
export async function dropBackSlot(back: DatabaseContext): Promise<void> {
  try {
    await dropPublicationAndSlot(back)
  } catch (error) {
    if (!(error instanceof MigrationError && error.code === '603102')) throw error
  }
}

/** Drops the control schema of the way back in the old source's database. */
export async function removeBackSchema(context: DatabaseContext): Promise<void> {
  const back = reversed(context)
  await using old = await connectIfThere(back)
  if (old && (await controlSchemaOwner(old)) === back.key) await dropControlSchema(old)
}
