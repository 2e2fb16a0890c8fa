import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { ServerPair } from '../../test/support/servers.ts'
import type { Benchmark, Surroundings } from '../benchmark.ts'
import { profiling } from '../options.ts'
import { serverFacts, startBenchServers } from '../servers.ts'
import { createDatabases, createTemplate, dropDatabases, type Shape } from './databases.ts'
import { cutoverFigures, type CutoverFigures } from './figures.ts'
import { cutoverCommand, type CutoverOptions, type Verification } from './options.ts'
import { reportLines, type CutoverResult } from './report.ts'
import { runRound, type Round } from './round.ts'
import { startWorkload } from './workload.ts'

/** A dump locks all tables at once, each with its indexes and sequence; slots are for the databases and their copies. */
const SETTINGS = { max_locks_per_transaction: '256', max_replication_slots: '50', max_wal_senders: '50' }

/** How long an application cannot write, and why. */
export const cutover: Benchmark = {
  command: cutoverCommand(),
  async run(command: Command, surroundings: Surroundings) {
    const options = command.opts<CutoverOptions>()
    const { tables, verify, databases, databaseTables, rows, rounds } = options
    await using pair = await startBenchServers(options, surroundings.signal, SETTINGS, SETTINGS)
    const kinds: { shape: Shape; verify: Verification[] }[] = [
      ...tables.map((one) => ({ shape: { databases: 1, tables: one, rows }, verify })),
      ...databases.map((one) => ({
        shape: { databases: one, tables: databaseTables, rows },
        verify: ['Counts' as const],
      })),
    ]
    const cutovers: CutoverFigures[] = []
    for (const kind of kinds)
      cutovers.push(...(await measureShape(pair, kind.shape, kind.verify, options, surroundings)))
    const result: CutoverResult = { benchmark: 'cutover', ok: true, servers: await serverFacts(pair), rounds, cutovers }
    return { result, lines: reportLines(result) }
  },
}

async function measureShape(
  pair: ServerPair,
  shape: Shape,
  verifications: readonly Verification[],
  { rounds, seconds, share, compared, cpuProf }: CutoverOptions,
  { signal, say }: Surroundings,
): Promise<CutoverFigures[]> {
  await createTemplate(pair, shape)
  const capacity = await measureCapacity(pair, shape, seconds, signal)
  const rate = (capacity * share) / 100
  const title = `${shape.databases} × ${shape.tables} tables`
  say(`${title}: the source does ${Math.round(capacity)} transactions/s, the workload ${Math.round(rate)}/s`)
  const measured = verifications.map((verify) => ({ verify, done: [] as Round[] }))
  for (let round = 0; round < rounds; round++) {
    for (const { verify, done } of measured) {
      signal.throwIfAborted()
      const name = `cutover-${shape.databases}-${shape.tables}-${verify}-${round + 1}`
      const one = await runRound(pair, shape, {
        verify,
        compared: compared && verify === 'Checksums',
        rate,
        seconds,
        execArgv: profiling(cpuProf, name),
        signal,
      })
      done.push(one)
      say(`  round ${round + 1}: ${verify} ${one.downtime.toFixed(2)} s (${stepText(one)})`)
    }
  }
  return measured.map(({ verify, done }) => cutoverFigures(shape, verify, capacity, done))
}

function stepText({ steps, untilFreeze, machine }: Round): string {
  const parts = Object.entries(steps).map(([name, seconds]) => `${name} ${Math.round(seconds * 1000)}`)
  const busy = machine === null ? '' : `; machine ${Math.round(machine * 100)} % busy`
  return `ms: ${parts.join(', ')}; until the freeze ${Math.round(untilFreeze * 1000)}${busy}`
}

/** @returns transactions in a second that all sessions together are acknowledged, with nobody following */
async function measureCapacity(pair: ServerPair, shape: Shape, seconds: number, signal: AbortSignal): Promise<number> {
  await createDatabases(pair, shape)
  await using workload = startWorkload(pair, shape, Infinity)
  // Plans and the catalog's caches first: with many tables they take longest.
  await sleep(WARM_MS, undefined, { signal })
  const before = workload.acknowledged()
  const began = performance.now()
  await sleep(seconds * 1000, undefined, { signal })
  const capacity = ((workload.acknowledged() - before) * 1000) / (performance.now() - began)
  await workload.stop()
  await dropDatabases(pair, shape)
  return capacity
}

const WARM_MS = 2_000
