import type { Command } from 'commander'
import { errorText } from '../../migration/errors.ts'
import type { ServerPair } from '../../test/support/servers.ts'
import type { Benchmark, Surroundings } from '../benchmark.ts'
import { profiling } from '../options.ts'
import { watchedServer, watchProcesses } from '../process-watch.ts'
import { serverFacts, startBenchServers } from '../servers.ts'
import { TimeIsUp } from '../time-is-up.ts'
import { clearTarget, createSource, loadDifferences } from './databases.ts'
import { shapeFigures, type MeasuredLoad, type NotRun, type ShapeFigures } from './figures.ts'
import type { Load, LoaderName } from './loader.ts'
import { loadCommand, type LoadBenchOptions } from './options.ts'
import { loadByPgcopydb } from './pgcopydb-loader.ts'
import { loadByPgflex } from './pgflex-loader.ts'
import { reportLines, type LoadResult } from './report.ts'
import { shapeOf, type Shape } from './shape.ts'
import { loadByCopy, loadByPgDump, prepareCopy } from './shell-loaders.ts'

/** All of the programs lock every table at once; the default has room for some 6,000. */
const SETTINGS = { max_locks_per_transaction: '256' }

/** pgflex, pgcopydb, pg_dump and the floor on the same database. */
export const load: Benchmark = {
  command: loadCommand(),
  async run(command: Command, surroundings: Surroundings) {
    const options = command.opts<LoadBenchOptions>()
    await using pair = await startBenchServers(options, surroundings.signal, SETTINGS, SETTINGS)
    const shapes: ShapeFigures[] = []
    for (const name of options.shapes) {
      shapes.push(await measureShape(pair, shapeOf(name, options), options, surroundings))
    }
    const { rounds, jobs, mode } = options
    const servers = await serverFacts(pair)
    const result: LoadResult = { benchmark: 'load', ok: true, servers, rounds, jobs, mode, shapes }
    return { result, lines: reportLines(result) }
  },
}

async function measureShape(
  pair: ServerPair,
  shape: Shape,
  options: LoadBenchOptions,
  { signal, say }: Surroundings,
): Promise<ShapeFigures> {
  say(`${shape.name}: ${shape.about}`)
  await createSource(pair, shape)
  const measured: MeasuredLoad[] = []
  const notRun: NotRun[] = []
  for (let round = 0; round < options.rounds; round++) {
    for (const loader of turned(options.loaders, round)) {
      if (notRun.some((one) => one.loader === loader)) continue
      signal.throwIfAborted()
      try {
        const one = await measureLoad(pair, loader, `${shape.name}-${round + 1}`, options, signal)
        measured.push({ ...one, round })
        say(`  round ${round + 1}: ${loader} ${one.seconds.toFixed(2)} s${one.about ? ` (${one.about})` : ''}`)
      } catch (error) {
        // pgflex has to do it; of the others it is told.
        if (signal.aborted || loader === 'pgflex') throw error
        const reason = error instanceof TimeIsUp ? error.message : errorText(error)
        notRun.push({ loader, reason })
        say(`  round ${round + 1}: ${loader}: ${reason}`)
      }
    }
  }
  await clearTarget(pair)
  return shapeFigures(shape, measured, notRun)
}

/** Who begins goes round. */
function turned(loaders: readonly LoaderName[], round: number): LoaderName[] {
  const first = round % loaders.length
  return [...loaders.slice(first), ...loaders.slice(0, first)]
}

async function measureLoad(
  pair: ServerPair,
  loader: LoaderName,
  name: string,
  options: LoadBenchOptions,
  signal: AbortSignal,
): Promise<Omit<MeasuredLoad, 'round'>> {
  await clearTarget(pair)
  if (loader === 'copy') await prepareCopy(pair, { jobs: options.jobs, signal, limitSeconds: options.limit })
  const programs = [await watchedServer(pair.source, 'source'), await watchedServer(pair.target, 'target')]
  using watch = watchProcesses(programs)
  const done = await loadBy(pair, loader, name, options, signal)
  const { busy, machine, uses } = watch.end()
  const differences = await loadDifferences(pair, loader)
  if (loader === 'pgflex' && differences.length > 0) {
    throw new Error(`What pgflex has loaded differs: ${differences.slice(0, 5).join('; ')}.`)
  }
  return { ...done, busy, machine, sourceUse: uses[0] ?? null, targetUse: uses[1] ?? null, differences }
}

function loadBy(
  pair: ServerPair,
  loader: LoaderName,
  name: string,
  { jobs, mode, limit, cpuProf }: LoadBenchOptions,
  signal: AbortSignal,
): Promise<Load & { about?: string }> {
  const common = { jobs, signal, limitSeconds: limit }
  switch (loader) {
    case 'pgflex':
      return loadByPgflex(pair, {
        ...common,
        mode: mode === 'online' ? 'Online' : 'Offline',
        execArgv: profiling(cpuProf, name),
      })
    case 'pgcopydb':
      return loadByPgcopydb(pair, common)
    case 'pg_dump':
      return loadByPgDump(pair, common)
    case 'copy':
      return loadByCopy(pair, common)
  }
}
