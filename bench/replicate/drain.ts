import type { ServerPair } from '../../test/support/servers.ts'
import type { Lsn } from '../../migration/lsn.ts'
import { serverCpu } from '../server-cpu.ts'
import type { Applier, ApplierName, OwnUse } from './applier.ts'
import { contentDifferences, DATABASE } from './databases.ts'

export interface Drain {
  applier: ApplierName
  /** From its start until the last row of the backlog is seen on the target. */
  seconds: number
  /** Processor time of all processes of each server in that time; null where it can't be told. */
  sourceCpuSeconds: number | null
  targetCpuSeconds: number | null
  /** Of the applier's own process, where it has one. */
  own: OwnUse | null
}

/** ms between two looks for the last row. */
const LOOK_MS = 10
/** Looks for each question whether the applier has failed. */
const LOOKS_PER_CHECK = 50

/** Measures how long an applier takes for its backlog. */
export async function drain(pair: ServerPair, applier: Applier, until: Lsn, signal: AbortSignal): Promise<Drain> {
  // Each of them meets clean buffers, and writes each page whole at its first change.
  await using source = await pair.source.connect()
  await using target = await pair.target.connect(applier.database)
  await Promise.all([source.query('checkpoint'), target.query('checkpoint')])
  const [sourceCpu, targetCpu] = [await serverCpu(pair.source), await serverCpu(pair.target)]
  const before = [sourceCpu(), targetCpu()] as const
  const began = performance.now()
  await applier.begin(until)
  await markerSeen()
  const seconds = (performance.now() - began) / 1000
  const after = [sourceCpu(), targetCpu()] as const
  const own = (await applier.end()) ?? null
  return {
    applier: applier.name,
    seconds,
    sourceCpuSeconds: known(after[0] - before[0]),
    targetCpuSeconds: known(after[1] - before[1]),
    own,
  }

  async function markerSeen(): Promise<void> {
    for (let look = 1; ; look++) {
      const { rows } = await target.query('select from public.bench_marker')
      if (rows.length > 0) return
      signal.throwIfAborted()
      if (look % LOOKS_PER_CHECK === 0) await applier.check()
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  }
}

function known(seconds: number): number | null {
  return Number.isNaN(seconds) ? null : seconds
}

/** @throws {Error} when a target is not what the source is */
export async function expectSameContents(pair: ServerPair, appliers: readonly Applier[]): Promise<void> {
  for (const { name, database } of appliers) {
    await using source = await pair.source.connect(DATABASE)
    await using target = await pair.target.connect(database)
    const differences = await contentDifferences(source, target)
    if (differences.length > 0) {
      throw new Error(
        `What ${name} has applied differs in ${differences.length} tables: ${differences.slice(0, 5).join('; ')}.`,
      )
    }
  }
}
