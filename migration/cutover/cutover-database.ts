import type { DatabaseContext } from '../context.ts'
import { acquireLease, type Lease } from '../control/lease.ts'
import { errorText, MigrationError, toFailure } from '../errors.ts'
import { copyUnloggedTables } from '../load/copy-unlogged-tables.ts'
import { formatLsn, parseLsn, type Lsn } from '../lsn.ts'
import { tableFilter } from '../model/table-filter.ts'
import { replicateSlice } from '../replicate/replicate-slice.ts'
import { applyPostData } from '../schema/apply-post-data.ts'
import { restoreIdentityColumns } from '../schema/identity-columns.ts'
import { reportPostData } from '../schema/report-post-data.ts'
import { copySequences } from '../schema/sequences.ts'
import { updateRecord } from '../store/migrations.ts'
import { verifyDatabase } from '../verify/verify-database.ts'
import { cutoverSteps, type CutoverSteps } from './cutover-steps.ts'
import { takeEndLsn } from './end-lsn.ts'
import { freezeWrites, readFreezeSetting, unfreezeWrites, type FrozenFrom } from './freeze-writes.ts'

/** s; how long the drain may take beyond the latency that a cutover may begin with. */
const DRAIN_ALLOWANCE = 60

/**
 * Cuts one database over. Each step is recorded and can be run again; killed anywhere, the next call goes on.
 * Until the comparison has passed, a failure calls the cutover off: writes are let in again on the source and
 * the migration goes back to following. After it, there is only forwards.
 */
export async function cutoverDatabase(context: DatabaseContext): Promise<{ next: 'finished' | 'slice' }> {
  await using target = await context.target('cutover')
  await using leaseSession = await context.target('cutover lease')
  await using lease = await acquireLease(leaseSession, 'cutover')
  if (!lease) throw new MigrationError('Busy', 'Another copy of the cutover is at work.', { retryable: true })
  const steps = cutoverSteps(context, target)
  await context.status((status) => ({
    ...status,
    phase: 'CuttingOver',
    migrationState: 'InProgress',
    message: undefined,
    cutover: status.cutover ?? { startedAt: new Date().toISOString(), steps: [] },
  }))
  try {
    await bringAcross(context, steps, lease)
  } catch (error) {
    if (context.draining.aborted || lease.lost.aborted) throw error
    await callOff(context, steps, error)
    return { next: 'slice' }
  }
  await steps.run('triggers and constraints', async () => {
    await restoreIdentityColumns(target)
    await reportPostData(context, await applyPostData(context, 'cutover'))
  })
  await finish(context)
  return { next: 'finished' }
}

/** All that can still be called off. */
async function bringAcross(context: DatabaseContext, steps: CutoverSteps, lease: Lease): Promise<void> {
  const { properties } = context.record
  if (properties.migrationMode === 'Online') {
    if (properties.pgflex.writeFreeze === 'Automatic') {
      await steps.run('read freeze setting', async () => {
        await using source = await context.source('freeze')
        return await readFreezeSetting(source)
      })
      await steps.run('freeze writes', () => freezeWrites(context))
    }
    await steps.run('take LSN', async () => ({ lsn: formatLsn(await takeEndLsn(context)) }))
    await steps.run('drain', async () =>
      drain(context, parseLsn((await steps.detail<{ lsn: string }>('take LSN'))!.lsn)),
    )
    await steps.run('unlogged tables', () => copyUnloggedTables(context, lease))
  }
  await steps.run('sequences', async () => {
    await using source = await context.source('sequences')
    await using target = await context.target('sequences')
    return await copySequences(source, target, tableFilter(properties.pgflex))
  })
  await steps.run('compare', () => verifyDatabase(context))
}

async function drain(context: DatabaseContext, until: Lsn): Promise<void> {
  const seconds = context.record.properties.pgflex.maxLatencySecondsForCutover + DRAIN_ALLOWANCE
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const slice = await replicateSlice(context, { ms: Math.max(1000, deadline - Date.now()), until })
    if (slice.reason === 'reached') {
      await context.status((status) => ({
        ...status,
        ...(status.cutover ? { cutover: { ...status.cutover, endLsn: formatLsn(until) } } : {}),
      }))
      return
    }
    context.draining.throwIfAborted()
    if (Date.now() > deadline) {
      throw new MigrationError('DrainTooSlow', `The target did not reach ${formatLsn(until)} within ${seconds} s.`, {
        hint: 'Wait until the latency is small, and cut over again.',
      })
    }
    if (slice.reason === 'busy') await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Undoes the freeze, forgets the user's request, and says why. */
async function callOff(context: DatabaseContext, steps: CutoverSteps, error: unknown): Promise<void> {
  const frozenFrom = await steps.detail<FrozenFrom>('read freeze setting')
  if (frozenFrom) await unfreezeWrites(context, frozenFrom)
  await steps.forget()
  await updateRecord(context.documents, context.key, (record) => {
    const { [context.database]: _, ...cutover } = record.requests.cutover
    return { ...record, requests: { ...record.requests, cutover } }
  })
  const { hint } = toFailure(error)
  const message = `The cutover was called off${frozenFrom ? ', and writes are let in again on the source' : ''}: ${errorText(error)}${hint === undefined ? '' : ` ${hint}`}`
  await context.event({ level: 'error', event: 'CutoverCalledOff', message })
  const offline = context.record.properties.migrationMode === 'Offline'
  if (offline) throw error
  await context.status((status) => ({
    ...status,
    phase: 'Following',
    migrationState: 'WaitingForCutoverTrigger',
    message,
    cutover: undefined,
  }))
}

async function finish(context: DatabaseContext): Promise<void> {
  const endedAt = new Date().toISOString()
  const { cutover } = await context.status((status) => {
    const report = status.cutover ?? { startedAt: endedAt, steps: [] }
    const freeze = report.steps.find(({ name }) => name === 'freeze writes') ?? report.steps[0]
    const downtime = (Date.parse(endedAt) - Date.parse(freeze?.startedAt ?? report.startedAt)) / 1000
    return { ...status, latencySeconds: 0, lagBytes: 0, cutover: { ...report, endedAt, downtimeSeconds: downtime } }
  })
  await context.event({
    level: 'info',
    event: 'CutOver',
    message: `"${context.database}" was cut over; downtime ${cutover?.downtimeSeconds?.toFixed(2)} s.`,
  })
}
