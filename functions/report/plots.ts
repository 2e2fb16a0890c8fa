import type { Sample } from '../../migration/model/status.ts'
import type { DatabaseReport } from '../../migration/report.ts'
import { markup, type Html } from './html.ts'
import { bytes, number, seconds } from './measure.ts'
import { plot, type Point } from './plot.ts'
import { section } from './table.ts'

/** Load, throughput and latency of each database over time. */
export function plotsSection(databases: DatabaseReport[]): Html {
  const drawn = databases.flatMap(({ database, tables, samples }) => {
    const plots = [
      plot('Copied by the initial load', loaded(tables), bytes),
      plot('Changes applied in a second', throughput(samples), (value) => `${number(value)}/s`),
      plot('Latency', pointsOf(samples, 'latencySeconds'), seconds),
      plot('WAL between source and target', pointsOf(samples, 'lagBytes'), bytes),
    ].filter((one) => one !== undefined)
    return plots.length === 0
      ? []
      : [
          markup`<h3>${database}</h3>
            ${plots}`,
        ]
  })
  return section(
    'Load, throughput and latency',
    ...(drawn.length === 0 ? [markup`<p>Nothing was measured.</p>`] : drawn),
  )
}

function pointsOf(samples: Sample[], of: 'latencySeconds' | 'lagBytes'): Point[] {
  return samples.map((sample) => ({ at: Date.parse(sample.at), value: sample[of] }))
}

/** The sum of the tables that were completed by then; it begins with the first table at nothing. */
export function loaded(tables: DatabaseReport['tables']): Point[] {
  const ended = tables
    .flatMap(({ endedAt, bytesDone, state }) =>
      endedAt === undefined || state !== 'completed' ? [] : [{ at: Date.parse(endedAt), value: bytesDone }],
    )
    .toSorted((a, b) => a.at - b.at)
  if (ended.length === 0) return []
  const begin = tables.reduce(
    (first, { startedAt }) => (startedAt === undefined ? first : Math.min(first, Date.parse(startedAt))),
    ended[0]!.at,
  )
  let sum = 0
  return [{ at: begin, value: 0 }, ...ended.map(({ at, value }) => ({ at, value: (sum += value) }))]
}

/** Between each two samples; a counter never goes back, so what looks like it is nothing. */
export function throughput(samples: Sample[]): Point[] {
  return samples.slice(1).flatMap((sample, index) => {
    const before = samples[index]!
    const ms = Date.parse(sample.at) - Date.parse(before.at)
    const changes = Math.max(0, sample.changesApplied - before.changesApplied)
    return ms <= 0 ? [] : [{ at: Date.parse(sample.at), value: (1000 * changes) / ms }]
  })
}
