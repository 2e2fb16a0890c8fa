import type { Command } from 'commander'
import type { ServerPair } from '../../test/support/servers.ts'
import type { Benchmark, Surroundings } from '../benchmark.ts'
import { profiling } from '../options.ts'
import { serverFacts, startBenchServers } from '../servers.ts'
import { createDatabases, createTemplates, dropDatabases } from './databases.ts'
import { shapeFigures, type ShapeFigures } from './figures.ts'
import { largeTransactionShape } from './large-transaction-shape.ts'
import { measureLatencies } from './latency.ts'
import { manyTablesShape } from './many-tables-shape.ts'
import { replicateCommand, type ReplicateOptions } from './options.ts'
import { findPgcopydb, modulePath, type Pgcopydb } from './pgcopydb.ts'
import { pgbenchShape } from './pgbench-shape.ts'
import { reportLines, type ReplicateResult } from './report.ts'
import { runRound, type Round } from './round.ts'
import type { Shape, ShapeName } from './shape.ts'
import { toastShape } from './toast-shape.ts'

/** A transaction of the shape `toast` is as much as a dozen others. */
const TOAST_SHARE = 12

/** pgflex, native logical replication and pgcopydb on the same WAL. */
export const replicate: Benchmark = {
  command: replicateCommand(),
  async run(command: Command, surroundings: Surroundings) {
    const options = command.opts<ReplicateOptions>()
    const { signal, say } = surroundings
    await using pair = await startBenchServers(options, signal, modulePath(options.sourceMajor))
    const pgcopydb = options.pgcopydbLimit === 0 ? { reason: 'it was left out.' } : await findPgcopydb(pair.source)
    const shapes: ShapeFigures[] = []
    for (const part of options.shapes) {
      if (part === 'latency') continue
      shapes.push(await measureShape(pair, shapeOf(part, options), options, surroundings, pgcopydb))
    }
    const result: ReplicateResult = {
      benchmark: 'replicate',
      // Anything else has thrown.
      ok: true,
      servers: await serverFacts(pair),
      nativeCommit: options.nativeCommit,
      rounds: options.rounds,
      shapes,
      latency: options.shapes.includes('latency')
        ? await measureLatencies(pair, {
            seconds: options.seconds,
            execArgv: profiling(options.cpuProf, 'latency'),
            nativeCommit: options.nativeCommit,
            signal,
            say,
          })
        : null,
      pgcopydb,
    }
    return { result, lines: reportLines(result) }
  },
}

function shapeOf(name: ShapeName, { transactions, sessions, rows }: ReplicateOptions): Shape {
  switch (name) {
    case 'pgbench':
      return pgbenchShape({ transactions, sessions })
    case 'insert':
    case 'update':
    case 'delete':
      return largeTransactionShape(name, rows)
    case 'toast':
      return toastShape({ transactions: transactions / TOAST_SHARE, sessions })
    case 'many-tables':
      return manyTablesShape({ transactions, sessions })
  }
}

async function measureShape(
  pair: ServerPair,
  shape: Shape,
  { rounds, nativeCommit, cpuProf, pgcopydbLimit, marked = false }: ReplicateOptions,
  { signal, say }: Surroundings,
  found: Pgcopydb | { reason: string },
): Promise<ShapeFigures> {
  say(`${shape.name}: ${shape.about}`)
  await createTemplates(pair, shape)
  let pgcopydb = 'reason' in found ? undefined : found
  const done: Round[] = []
  for (let round = 0; round < rounds; round++) {
    await createDatabases(pair)
    const execArgv = profiling(cpuProf, `${shape.name}-${round + 1}`)
    const one = await runRound(pair, shape, { round, execArgv, marked, nativeCommit, pgcopydb, pgcopydbLimit, signal })
    done.push(one)
    // What has not come to an end once would only cost the same time again.
    if (one.pgcopydb?.reason !== undefined) pgcopydb = undefined
    await dropDatabases(pair)
    say(
      `  round ${round + 1}: ${[
        ...one.drains.map(({ applier, seconds }) => `${applier} ${seconds.toFixed(2)} s`),
        ...(one.pgcopydb?.reason === undefined ? [] : [`pgcopydb: ${one.pgcopydb.reason}`]),
      ].join(', ')}`,
    )
  }
  return shapeFigures(shape, done)
}
