import { setTimeout as sleep } from 'node:timers/promises'
import type { Migration } from '../../migration/model/migration-resource.ts'
import type { CutoverReport } from '../../migration/model/status.ts'
import {
  hasState,
  isWaitingForCutover,
  migrationBody,
  startMigrationHost,
  type MigrationHost,
  type Resource,
} from '../../test/support/migration-host.ts'
import type { ServerPair } from '../../test/support/servers.ts'
import { contentDifferences } from '../contents.ts'
import { watchedServer, watchProcesses, type Busy } from '../process-watch.ts'
import { createDatabases, databaseNames, dropDatabases, type Shape } from './databases.ts'
import type { Verification } from './options.ts'
import { startWorkload, type Workload } from './workload.ts'

export interface RoundOptions {
  verify: Verification
  /** Wait until all tables have been compared in the background. */
  compared: boolean
  /** Transactions in a second of all databases together. */
  rate: number
  /** s that the workload runs before the cutover. */
  seconds: number
  /** Options of Node for the host. */
  execArgv: string[]
  signal: AbortSignal
}

/** One cutover, of one or more databases; with several, of the one that took longest, or until the last one. */
export interface Round {
  /** s, as the migration reports it: from the freeze to the last step. */
  downtime: number
  /** s from the last acknowledgement of the source in any database to the moment the last one is cut over. */
  unwritable: number
  /** s from the request to the first freeze. */
  untilFreeze: number
  /** s of each step, in order; `between` is what passes from step to step. */
  steps: Record<string, number>
  /** Transactions in a second that the source acknowledged before the request. */
  transactionsPerSecond: number
  busy: Busy[]
  machine: number | null
}

/** ms: a copy of 2,000 tables on a busy machine takes a minute. */
const READY_LIMIT_MS = 600_000
/** Steps that come before the freeze cost no downtime. */
const BEFORE_FREEZE = new Set(['check objects', 'catch up'])
const NAME = 'bench'

/**
 * Migrates fresh databases through a host of its own, as a user does, and cuts them over under load.
 *
 * @throws {Error} when the cutover was called off, or the target has anything else than the source, or lacks a
 *   transaction that was acknowledged
 */
export async function runRound(pair: ServerPair, shape: Shape, options: RoundOptions): Promise<Round> {
  const { verify, compared, rate, seconds, execArgv, signal } = options
  const names = databaseNames(shape)
  await createDatabases(pair, shape)
  await using host = await startMigrationHost(execArgv.length === 0 ? {} : { NODE_OPTIONS: execArgv.join(' ') })
  using _ = onAbort(signal, () => void host.kill())
  const body = migrationBody(pair, names, { pgflex: { verify } })
  await expectStatus(201, host.migration('PUT', NAME, body))
  await host.waitFor(NAME, 'all databases follow', isWaitingForCutover, READY_LIMIT_MS)
  if (compared) await host.waitFor(NAME, 'all tables are compared', isCompared, READY_LIMIT_MS)
  await using workload = startWorkload(pair, shape, rate)
  const began = performance.now()
  await sleep(seconds * 1000, undefined, { signal })
  const transactionsPerSecond = (workload.acknowledged() * 1000) / (performance.now() - began)
  const programs = [
    await watchedServer(pair.source, 'source'),
    await watchedServer(pair.target, 'target'),
    { root: () => host.pid(), nameOf: () => 'pgflex' },
  ]
  using watch = watchProcesses(programs)
  const askedAt = Date.now()
  await expectStatus(200, host.migration('PATCH', NAME, { properties: { triggerCutover: 'True' } }))
  const reports = await cutOver(host, names, signal)
  const { busy, machine } = watch.end()
  const lastAcknowledgedAt = workload.lastAcknowledgedAt()
  await host.waitFor(NAME, 'the migration ends', hasState('Succeeded'), READY_LIMIT_MS)
  await workload.stop()
  await expectSame(pair, names, workload)
  await host.stop()
  await dropDatabases(pair, shape)
  return { ...measure(reports, { askedAt, lastAcknowledgedAt }), transactionsPerSecond, busy, machine }
}

function isCompared({ properties }: Resource): boolean {
  const comparison = properties.currentStatus.pgflex?.[
    'comparison'
  ] as Migration['properties']['currentStatus']['pgflex']['comparison']
  return comparison !== undefined && !comparison.running && comparison.tablesCompared === comparison.tables
}

/** Waits for the reports of all databases, without asking so often that the asking costs time. */
async function cutOver(host: MigrationHost, names: readonly string[], signal: AbortSignal): Promise<CutoverReport[]> {
  for (;;) {
    await sleep(LOOK_MS, undefined, { signal })
    const { body } = await host.migration<Migration>('GET', NAME)
    const { state, error, currentSubStateDetails } = body.properties.currentStatus
    const reports = names.map((name) => currentSubStateDetails.dbDetails[name]?.pgflex.cutover)
    if (reports.every((report) => report?.endedAt !== undefined)) return reports.map((report) => report!)
    const messages = Object.values(currentSubStateDetails.dbDetails).flatMap(({ message }) => message ?? [])
    if (state === 'Failed' || body.properties.triggerCutover !== 'True') {
      throw new Error(`The cutover did not succeed: ${[error, ...messages].filter(Boolean).join(' ')}`)
    }
  }
}

const LOOK_MS = 250

function measure(
  reports: readonly CutoverReport[],
  { askedAt, lastAcknowledgedAt }: { askedAt: number; lastAcknowledgedAt: number },
): Pick<Round, 'downtime' | 'unwritable' | 'untilFreeze' | 'steps'> {
  const times = reports.map((report) => {
    const steps = report.steps.filter(({ name }) => !BEFORE_FREEZE.has(name))
    return { downtime: report.downtimeSeconds!, steps, endedAt: Date.parse(report.endedAt!) }
  })
  const longest = times.toSorted((a, b) => b.downtime - a.downtime)[0]!
  const steps = Object.fromEntries(
    longest.steps.map(({ name, startedAt, endedAt }) => [
      name,
      (Date.parse(endedAt ?? startedAt) - Date.parse(startedAt)) / 1000,
    ]),
  )
  const within = Object.values(steps).reduce((sum, one) => sum + one, 0)
  const firstFreeze = Math.min(...times.map(({ steps: [freeze] }) => Date.parse(freeze!.startedAt)))
  return {
    downtime: longest.downtime,
    unwritable: (Math.max(...times.map(({ endedAt }) => endedAt)) - lastAcknowledgedAt) / 1000,
    untilFreeze: (firstFreeze - askedAt) / 1000,
    steps: { ...steps, between: Math.max(0, longest.downtime - within) },
  }
}

async function expectSame(pair: ServerPair, names: readonly string[], workload: Workload): Promise<void> {
  for (const name of names) {
    await using source = await pair.source.connect(name)
    await using target = await pair.target.connect(name)
    await workload.expectAcknowledged(name, target)
    const differences = await contentDifferences(source, target)
    if (differences.length > 0)
      throw new Error(`After the cutover ${name} differs: ${differences.slice(0, 5).join('; ')}.`)
  }
}

async function expectStatus(wanted: number, answer: Promise<{ status: number; body: unknown }>): Promise<void> {
  const { status, body } = await answer
  if (status !== wanted) throw new Error(`The host answered ${status}: ${JSON.stringify(body)}`)
}

function onAbort(signal: AbortSignal, callback: () => void): Disposable {
  if (signal.aborted) callback()
  signal.addEventListener('abort', callback)
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', callback) }
}
