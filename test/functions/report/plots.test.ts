import { expect, it } from 'vitest'
import { greatest, plot } from '../../../functions/report/plot.ts'
import { loaded, throughput } from '../../../functions/report/plots.ts'

const SECOND = 1_000
const at = (seconds: number): string => new Date(seconds * SECOND).toISOString()

it('of many points the greatest stay, and the first and the last', () => {
  const points = Array.from({ length: 1_000 }, (_, index) => ({ at: index, value: index % 97 === 3 ? 50 : 1 }))
  const kept = greatest(points, 100)
  expect(kept.length).toBeLessThanOrEqual(102)
  expect(kept[0]).toBe(points[0])
  expect(kept.at(-1)).toBe(points.at(-1))
  expect(kept.filter(({ value }) => value === 50)).toHaveLength(points.filter(({ value }) => value === 50).length)
  expect(greatest(points, 1_000)).toBe(points)
})

it('nothing is drawn of nothing, a dot of one point, a line of more', () => {
  const label = (value: number): string => `${value} s`
  expect(plot('Latency', [], label)).toBeUndefined()
  expect(String(plot('Latency', [{ at: 5, value: 0 }], label))).toMatch(/<circle cx="80.0" cy="156.0"/)
  const two = [
    { at: 0, value: 0 },
    { at: SECOND, value: 4 },
  ]
  expect(String(plot('Latency', two, label))).toMatch(/points="80.0,156.0 752.0,12.0"/)
})

it('throughput is what a counter gained, and never less than nothing', () => {
  const sample = { database: 'a', latencySeconds: 0, lagBytes: 0, rowsCopied: 0, bytesCopied: 0 }
  const samples = [0, 100, 100, 40].map((changesApplied, index) => ({ ...sample, at: at(2 * index), changesApplied }))
  expect(throughput(samples).map(({ value }) => value)).toEqual([50, 0, 0])
})

it('the load grows with each table that is completed', () => {
  const table = { schema: 's', rowsTotal: 0, rowsDone: 0, bytesTotal: 0 }
  const points = loaded([
    { ...table, table: 'late', state: 'completed', bytesDone: 5, startedAt: at(2), endedAt: at(9) },
    { ...table, table: 'first', state: 'completed', bytesDone: 7, startedAt: at(1), endedAt: at(3) },
    { ...table, table: 'lost', state: 'errored', bytesDone: 1, startedAt: at(1), endedAt: at(4) },
    { ...table, table: 'open', state: 'queued', bytesDone: 0 },
  ])
  expect(points.map(({ at: ms, value }) => [ms / SECOND, value])).toEqual([
    [1, 0],
    [3, 7],
    [9, 12],
  ])
})
