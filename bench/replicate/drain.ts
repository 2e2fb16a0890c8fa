import type { ServerPair } from '../../test/support/servers.ts'
import type { Lsn } from '../../migration/lsn.ts'
import { contentDifferences } from '../contents.ts'
import { watchedServer, watchProcesses, type Busy, type Use } from '../process-watch.ts'
import { TimeIsUp } from '../time-is-up.ts'
import type { Applier, ApplierName, OwnUse } from './applier.ts'
import { DATABASE } from './databases.ts'

export interface Drain {
  applier: ApplierName
  /** From its start until the last row of the backlog is seen on the target. */
  seconds: number
  /** Processor time of all processes of each server in that time; null where it can't be told. */
  sourceCpuSeconds: number | null
  targetCpuSeconds: number | null
  /** Of the applier's own processes, where it has some. */
  own: OwnUse | null
  /** The processes of both servers and of the applier, busiest first. */
  busy: Busy[]
  /** Share of all processors of the machine that was at work, for whomever; null where it can't be told. */
  machine: number | null
}

/** ms between two looks for the last row. */
const LOOK_MS = 10
/** Looks for each question whether the applier has failed. */
const LOOKS_PER_CHECK = 50

/**
 * Measures how long an applier takes for its backlog.
 *
 * @throws {TimeIsUp} when it has taken longer than the limit; it is stopped then
 */
export async function drain(
  pair: ServerPair,
  applier: Applier,
  until: Lsn,
  { signal, limitSeconds = Infinity }: { signal: AbortSignal; limitSeconds?: number },
): Promise<Drain> {
  await applier.prepare?.(until)
  // Each of them meets clean buffers, and writes each page whole at its first change.
  await using source = await pair.source.connect()
  await using target = await pair.target.connect(applier.database)
  await Promise.all([source.query('checkpoint'), target.query('checkpoint')])
  const programs = [await watchedServer(pair.source, 'source'), await watchedServer(pair.target, 'target')]
  using watch = watchProcesses(applier.process ? [...programs, applier.process] : programs)
  const began = performance.now()
  await applier.begin(until)
  await markerSeen()
  const seconds = (performance.now() - began) / 1000
  const { uses, busy, machine } = watch.end()
  const [sourceUse, targetUse, clientUse] = uses
  return {
    applier: applier.name,
    seconds,
    sourceCpuSeconds: cpuSeconds(sourceUse),
    targetCpuSeconds: cpuSeconds(targetUse),
    own: (await applier.end()) ?? clientUse ?? null,
    busy,
    machine,
  }

  async function markerSeen(): Promise<void> {
    for (let look = 1; ; look++) {
      const { rows } = await target.query('select from public.bench_marker')
      if (rows.length > 0) return
      signal.throwIfAborted()
      if (look % LOOKS_PER_CHECK === 0) await applier.check()
      if ((performance.now() - began) / 1000 > limitSeconds) await giveUp()
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  }

  async function giveUp(): Promise<never> {
    const share = await applier.progress?.()
    const complaints = applier.complaints?.()
    await applier.end(true)
    const done = share === undefined ? '' : ` with ${Math.round(share * 100)} % of the backlog committed`
    const said = complaints === undefined ? '' : `; ${complaints}`
    throw new TimeIsUp(`stopped after ${Math.round(limitSeconds)} s${done}${said}`)
  }
}

function cpuSeconds(use: Use | null | undefined): number | null {
  return use ? use.userSeconds + use.systemSeconds : null
}

/** @returns what differs between the target of an applier and the source, nothing when they are equal */
export async function differencesOf(pair: ServerPair, { database }: Applier): Promise<string[]> {
  await using source = await pair.source.connect(DATABASE)
  await using target = await pair.target.connect(database)
  return await contentDifferences(source, target)
}

/** @throws {Error} when a target is not what the source is */
export async function expectSameContents(pair: ServerPair, appliers: readonly Applier[]): Promise<void> {
  for (const applier of appliers) {
    const differences = await differencesOf(pair, applier)
    if (differences.length > 0) {
      throw new Error(
        `What ${applier.name} has applied differs in ${differences.length} tables: ${differences.slice(0, 5).join('; ')}.`,
      )
    }
  }
}
