import { expect, test } from 'vitest'
import { changeLines, columns, duration, progressLines } from '../../demo/progress.ts'
import type { DatabaseDetail, Migration } from '../../migration/model/migration-resource.ts'

function detail(databaseName: string, phase: string, changes: Partial<DatabaseDetail> = {}): DatabaseDetail {
  return {
    databaseName,
    migrationState: 'InProgress',
    fullLoadQueuedTables: 3,
    fullLoadLoadingTables: 2,
    fullLoadCompletedTables: 20,
    fullLoadErroredTables: 0,
    cdcInsertCounter: 0,
    cdcUpdateCounter: 0,
    cdcDeleteCounter: 0,
    appliedChanges: 0,
    incomingChanges: 0,
    pgflex: { actions: [], phase, progress: { rowsDone: 0, rowsTotal: 0, bytesDone: 0, bytesTotal: 0 }, warnings: [] },
    ...changes,
  }
}

function migration(details: DatabaseDetail[]): Migration {
  const currentStatus = {
    state: 'InProgress',
    currentSubStateDetails: {
      currentSubState: 'MigratingData',
      dbDetails: Object.fromEntries(details.map((one) => [one.databaseName, one])),
    },
  }
  return { properties: { currentStatus } } as unknown as Migration
}

test('the block names what every column is, and lines up whatever the numbers', () => {
  const following = detail('ledger', 'Following', { appliedChanges: 12_345, fullLoadCompletedTables: 26 })
  following.pgflex.progress.rowsDone = 41_022
  following.pgflex.latencySeconds = 0.42
  expect(progressLines(migration([detail('shop', 'CopyingData'), following]), 75)).toEqual([
    '01:15  InProgress, MigratingData',
    '  Database  Phase        Tables  Rows copied  Changes applied  Latency',
    '  shop      CopyingData   20/25            0                0        -',
    '  ledger    Following     26/31       41,022           12,345    0.4 s',
  ])
})

test('before data is migrated there is one line', () => {
  expect(progressLines(migration([]), 3)).toEqual(['00:03  InProgress, MigratingData'])
})

test('a log has a line for each change of phase, and none while nothing changes', () => {
  const first = migration([detail('shop', 'CopyingData')])
  expect(changeLines(undefined, first, 1)).toEqual([
    '00:01  InProgress, MigratingData',
    '00:01  shop: CopyingData (20/25 tables, 0 rows copied)',
  ])
  expect(changeLines(first, migration([detail('shop', 'CopyingData', { appliedChanges: 5 })]), 2)).toEqual([])
  expect(
    changeLines(first, migration([detail('shop', 'Following', { appliedChanges: 5, message: 'Ready' })]), 3),
  ).toEqual(['00:03  shop: Following (20/25 tables, 0 rows copied, 5 changes applied). Ready'])
})

test('words stand to the left and numbers to the right', () => {
  expect(
    columns([
      ['Name', 'Count'],
      ['a', '1'],
      ['long name', '12,345'],
    ]),
  ).toEqual(['Name        Count', 'a               1', 'long name  12,345'])
})

test('durations are told as exactly as a person wants them', () => {
  expect([0.123, 12.34, 125].map(duration)).toEqual(['0.12 s', '12.3 s', '2 min 5 s'])
})
