import type { Connection } from '../../connect.ts'
import type { DatabaseContext } from '../../context.ts'
import { isStepDone } from '../../control/control-schema.ts'
import { acquireLease, checkFence, type Lease } from '../../control/lease.ts'
import { errorText, isTransient, MigrationError } from '../../errors.ts'
import { copyTables } from '../../load/copy-tables.ts'
import { clearMessage } from '../../load/slot-wait.ts'
import type { TableName } from '../../load/tables.ts'
import { applyPostData } from '../../schema/apply-post-data.ts'
import { reportPostData } from '../../schema/report-post-data.ts'
import { endOwnWalsender } from '../replication-slot.ts'
import { sourceObjects } from '../slot-name.ts'
import { carryNewSequences } from './carry-new-sequences.ts'
import { failedStep, findNewTables, type NewTables } from './find-new-tables.ts'
import { makeTables, UNFINISHED } from './make-tables.ts'
import { publishAgain, publishTables, transactionsEnded } from './publish-tables.ts'

/** s; a table that could not be made is tried again then: reading definitions takes time from following. */
const RETRY_SECONDS = 300
/** Tables that are tried one by one when it does not work with all at once. */
const TRIED = 20
/** ms; longer transactions of the source are waited for while changes are followed. */
const TRANSACTIONS_MS = 1_000
/** Shown meanwhile: the latency grows. */
const COPYING = 'New tables of the source are copied; changes are followed again when that is done.'

/**
 * Takes tables along that were made after the migration began: publishes them, makes them on the target, and copies
 * them under a snapshot point of their own, all between two slices. Changes are not followed meanwhile.
 *
 * What makes it exact: a table is published before its point P is taken, and making the slot of P waits for all
 * transactions that were running. So whoever has written to the table before it was published has committed
 * before P, and is in the copy; whoever commits at or after P has begun after the publication, and is in the stream
 * in whole. The stream does not go on before the copy is done: the tables are on the list of what has to be copied.
 *
 * @returns false when the host stops before the tables are copied: call it again
 * @throws {MigrationError} what ends a copy (retryable)
 */
export async function carryNewTables(context: DatabaseContext): Promise<boolean> {
  await using source = await context.source('new tables')
  await using target = await context.target('new tables')
  const found = await findNewTables(context, source, target, RETRY_SECONDS)
  await carryNewSequences(context, source, target).catch((error: unknown) => {
    // It is tried again before the next slice; the readiness names what is missing, and the cutover insists on it.
    context.log.warn('New sequences could not be made', { database: context.database, error: errorText(error) })
  })
  const isNew = found.tables.length + found.partitioned.length > 0
  if (!isNew && !(await isStepDone(target, UNFINISHED))) return true
  // The lease of a slice: none runs meanwhile, here or elsewhere. If one does, it is not our turn.
  await using lease = await acquireLease(target, 'replicate')
  if (!lease) return true
  if (isNew) await make(context, lease, source, found)
  if (!(await isStepDone(target, UNFINISHED))) return true
  return await finish(context, lease)
}

/** A table that can't be made is told; the others, and all that is followed, go on without it. */
async function make(context: DatabaseContext, lease: Lease, source: Connection, found: NewTables): Promise<void> {
  try {
    await makeTogether(context, lease, source, found)
  } catch (error) {
    if (isFatal(context, lease, error)) throw error
    if (error instanceof MigrationError && error.code === 'TransactionsRunning') {
      context.log.info('New tables wait for transactions of the source', { database: context.database })
      return
    }
    const parts: NewTables[] = [
      ...found.partitioned.map((table) => ({ tables: [], partitioned: [table] })),
      ...found.tables.map((table) => ({ tables: [table], partitioned: [] })),
    ]
    for (const part of parts.slice(0, TRIED)) {
      try {
        await makeTogether(context, lease, source, part)
      } catch (failure) {
        if (isFatal(context, lease, failure)) throw failure
        await tellFailure(context, [...part.partitioned, ...part.tables], failure)
      }
    }
  }
}

function isFatal(context: DatabaseContext, lease: Lease, error: unknown): boolean {
  const named = error instanceof MigrationError && error.code === 'NewTableFailed'
  return context.draining.aborted || lease.lost.aborted || (isTransient(error) && !named)
}

async function makeTogether(
  context: DatabaseContext,
  lease: Lease,
  source: Connection,
  found: NewTables,
): Promise<void> {
  const names = sourceObjects(context.key, context.database)
  const logged = found.tables.filter(({ unlogged }) => !unlogged)
  await publishTables(source, names, logged)
  if (!(await transactionsEnded(source, TRANSACTIONS_MS))) {
    throw new MigrationError('TransactionsRunning', 'Transactions on the source have been running for some time.')
  }
  await publishAgain(source, names, logged)
  // A slice that was frozen and wakes up would acknowledge changes of tables that it does not know.
  await endOwnWalsender(source, names.slot)
  await makeTables(context, lease, source, found)
}

/** Copies what is on the list, and builds indexes. */
async function finish(context: DatabaseContext, lease: Lease): Promise<boolean> {
  await context.status({ message: COPYING })
  const { remaining, errored } = await copyTables(context, { worker: 0 })
  if (context.draining.aborted) return false
  if (remaining > 0) {
    throw new MigrationError('TablesNotCopied', `${remaining} new tables are not copied yet.`, { retryable: true })
  }
  await reportPostData(context, await applyPostData(context, 'load'))
  if (context.draining.aborted) return false
  await using target = await context.target('new tables')
  const { rows } = await target.query<TableName>(
    `select schema_name as schema, table_name as name from pgflex.table_copy
      where state = 'completed' and ended_at > (select finished_at from pgflex.step where name = $1)`,
    [UNFINISHED],
  )
  await target.query('begin')
  await target.query('delete from pgflex.step where name = $1', [UNFINISHED])
  await checkFence(target, lease)
  await target.query('commit')
  await clearMessage(context, COPYING)
  await tellCarried(context, rows)
  if (errored > 0) context.log.warn('New tables could not be copied', { database: context.database, errored })
  return true
}

async function tellCarried(context: DatabaseContext, tables: readonly TableName[]): Promise<void> {
  const titles = tables.map(({ schema, name }) => `${schema}.${name}`)
  const isOf = (warning: string): boolean =>
    titles.some((title) =>
      [`${title} is not followed`, `${title} could not be taken along`, `Changes of ${title} are not applied`].some(
        (beginning) => warning.startsWith(beginning),
      ),
    )
  await context.status((status) => ({
    ...status,
    warnings: status.warnings.filter((warning) => !isOf(warning)),
  }))
  for (const title of titles) {
    await context.event({
      level: 'info',
      event: 'TableCarried',
      message: `${title} was made on the source after the migration began; it was copied, and is followed from here on.`,
    })
  }
}

async function tellFailure(context: DatabaseContext, tables: readonly TableName[], error: unknown): Promise<void> {
  await using target = await context.target('new tables')
  for (const { schema, name } of tables) {
    await target.query(
      `insert into pgflex.step (name) values ($1) on conflict (name) do update set finished_at = excluded.finished_at`,
      [failedStep({ schema, name })],
    )
    const hint = error instanceof MigrationError && error.hint !== undefined ? ` ${error.hint}` : ''
    const warning = `${schema}.${name} could not be taken along so far: ${errorText(error)}${hint}`
    let isNew = false
    await context.status((status) => {
      isNew = !status.warnings.includes(warning)
      return isNew ? { ...status, warnings: [...status.warnings, warning] } : status
    })
    if (isNew) await context.event({ level: 'warning', event: 'TableNotFollowed', message: warning })
  }
}
