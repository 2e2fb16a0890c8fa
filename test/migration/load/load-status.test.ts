import { expect, test } from 'vitest'
import { loadStatus, sumLoad, type LoadFacts, type LoadSums } from '../../../migration/load/load-status.ts'

const NOW = new Date('2030-01-01T00:00:00Z')
const HALF: LoadSums = {
  queued: 1,
  loading: 1,
  completed: 1,
  errored: 0,
  rowsDone: 50,
  rowsTotal: 100,
  bytesDone: 500,
  bytesTotal: 1000,
  elapsedSeconds: 60,
}

test('what is left takes as long as what is done', () => {
  expect(loadStatus(HALF, NOW)).toEqual({
    tables: { queued: 1, loading: 1, completed: 1, errored: 0 },
    progress: {
      rowsDone: 50,
      rowsTotal: 100,
      bytesDone: 500,
      bytesTotal: 1000,
      estimatedEnd: '2030-01-01T00:01:00.000Z',
    },
  })
})

test.each([
  ['in the first seconds', { elapsedSeconds: 2 }],
  ['before the first byte', { bytesDone: 0 }],
  ['when nothing is left to copy', { queued: 0, loading: 0 }],
])('no end is estimated %s', (_when, change) => {
  expect(loadStatus({ ...HALF, ...change }, NOW).progress.estimatedEnd).toBeUndefined()
})

test('nobody waits for tables that were given up', () => {
  const sums = { ...HALF, bytesErrored: 500 }
  expect(loadStatus(sums, NOW).progress.estimatedEnd).toBe(NOW.toISOString())
})

interface ModelTable {
  disk: number
  /** Bytes of the stream for each byte of the disk. */
  ratio: number
  /** The catalog's estimate against the truth; 0: never analyzed. */
  estimate: number
}

const MB = 1_000_000
const ROW = 100

/** An even load: so many streams at a time, each of the same speed, in bytes of the stream. */
function model(tables: ModelTable[], jobs: number): { end: number; at: (time: number) => LoadFacts } {
  const speed = 50 * MB
  const free = Array.from({ length: jobs }, () => 0)
  const runs = tables.map((table) => {
    const lane = free.indexOf(Math.min(...free))
    const begin = free[lane]!
    free[lane] = begin + (table.disk * table.ratio) / speed
    return { ...table, begin, end: free[lane] }
  })
  const sum = (of: ModelTable[], what: (table: ModelTable) => number): number =>
    of.reduce((total, table) => total + what(table), 0)
  const rows = ({ disk, ratio }: ModelTable): number => Math.round((disk * ratio) / ROW)
  return {
    end: Math.max(...free),
    at(time) {
      const completed = runs.filter(({ end }) => end <= time)
      const loading = runs.filter(({ begin, end }) => begin < time && end > time)
      const waiting = runs.filter(({ begin }) => begin >= time)
      return {
        queued: waiting.length,
        completed: completed.length,
        errored: 0,
        elapsedSeconds: time,
        rowsCompleted: sum(completed, rows),
        rowsWaiting: sum(waiting, (table) => rows(table) * table.estimate),
        bytesTotal: sum(runs, ({ disk }) => disk),
        bytesCompleted: sum(completed, ({ disk }) => disk),
        bytesErrored: 0,
        measuredBytes: sum(completed, ({ disk }) => disk),
        measuredStream: sum(completed, ({ disk, ratio }) => disk * ratio),
        loading: loading.map((table) => {
          const part = (time - table.begin) / (table.end - table.begin)
          return {
            rowsDone: Math.round(rows(table) * part),
            rowsTotal: Math.round(rows(table) * table.estimate),
            bytesDone: table.disk * table.ratio * part,
            bytesTotal: table.disk,
          }
        }),
      }
    },
  }
}

const table = (disk: number, ratio: number, estimate = 1): ModelTable => ({ disk: disk * MB, ratio, estimate })

test.each<[string, ModelTable[], number]>([
  ['one table whose text is smaller than its pages', [table(10_000, 0.7)], 1],
  ['one table whose values are compressed on the disk', [table(10_000, 3)], 1],
  ['two hundred middling tables', Array.from({ length: 200 }, (_, i) => table(50 + (i % 7) * 10, 0.8)), 4],
  ['tables that were never analyzed', Array.from({ length: 40 }, () => table(300, 0.6, 0)), 4],
  ['a catalog that is ten per cent off', Array.from({ length: 8 }, () => table(2_000, 0.8, 1.1)), 4],
  ['a large table and small ones', [table(3_000, 0.7), ...Array.from({ length: 300 }, () => table(10, 0.7))], 2],
])('from the first third on, the estimated end of an even load is right within 20 %%: %s', (_what, tables, jobs) => {
  const { end, at } = model(tables, jobs)
  for (const part of [0.34, 0.5, 0.7, 0.9]) {
    const elapsed = end * part
    const { estimatedEnd } = loadStatus(sumLoad(at(elapsed)), NOW).progress
    const estimate = elapsed + (Date.parse(estimatedEnd!) - NOW.getTime()) / 1000
    expect(estimate / end, `after ${part}`).toBeGreaterThan(0.8)
    expect(estimate / end, `after ${part}`).toBeLessThan(1.2)
  }
})
