import { expect, it } from 'vitest'
import { outcomeFor, type Goal } from '../../cli/follow.ts'
import { changeLine, createProgress } from '../../cli/progress.ts'
import { parseDuration } from '../../cli/wait.ts'
import type { Migration } from '../../migration/model/migration-resource.ts'
import type { DatabaseStatus, ServerStatus, ValidationDetails } from '../../migration/model/status.ts'
import { toResource } from '../../migration/model/wire.ts'
import { database, record, server, waiting } from '../migration/model/example.ts'

const queued = [database('a'), database('b')]
const validation = (status: ValidationDetails['status']): ValidationDetails => ({
  status,
  validationStartTimeInUtc: '2026-11-22T08:00:00.000Z',
  validationEndTimeInUtc: '2026-11-22T08:00:01.000Z',
  serverLevelValidationDetails: [],
  dbLevelValidationDetails: [],
})
const of = (status: Partial<ServerStatus>, databases: DatabaseStatus[] = queued): Migration =>
  toResource(record(), server(status), databases)

it.each<[string, Goal, Migration, number | undefined]>([
  ['a queued migration is not validated', 'validated', of({ phase: 'Queued' }), undefined],
  ['a validating one neither', 'validated', of({ phase: 'Validating' }), undefined],
  ['with its result it is', 'validated', of({ phase: 'Migrating', validation: validation('Warning') }), 0],
  ['a migration without validation is past it', 'validated', of({}), 0],
  ['a failed validation is 4', 'ready', of({ phase: 'Ended', outcome: 'ValidationFailed' }), 4],
  ['a copying migration is not ready', 'ready', of({}), undefined],
  ['one that waits for its cutover is', 'ready', of({}, [waiting('a'), waiting('b')]), 0],
  ['but it has not succeeded', 'succeeded', of({}, [waiting('a'), waiting('b')]), undefined],
  ['a cancelled one never will', 'succeeded', of({ phase: 'Ended', outcome: 'Canceled' }), 1],
  ['a failed one has ended, badly', 'ended', of({ phase: 'Ended', outcome: 'Failed' }), 1],
  ['success is success for every goal', 'ready', of({ phase: 'Ended', outcome: 'Succeeded' }), 0],
])('%s', (_what, goal, migration, outcome) => {
  expect(outcomeFor(goal, migration)).toBe(outcome)
})

it('durations are written as numbers with a unit', () => {
  expect(['90', '90s', '1.5m', '2h', '1d'].map(parseDuration)).toEqual([90_000, 90_000, 90_000, 7_200_000, 86_400_000])
  expect(() => parseDuration('soon')).toThrow('not a duration')
})

it('a log has one line for each change', () => {
  let text = ''
  const progress = createProgress({ isTTY: false, columns: 80, write: (one: string) => (text += one) !== '' })
  const copying = (bytesDone: number): Migration =>
    of({}, [
      database('a', { phase: 'CopyingData', progress: { rowsDone: 0, rowsTotal: 0, bytesDone, bytesTotal: 100 } }),
      database('b'),
    ])
  for (const bytesDone of [11, 12, 19, 20]) progress.show(copying(bytesDone))
  expect(
    text
      .trimEnd()
      .split('\n')
      .map((line) => line.slice(25)),
  ).toEqual([
    'orders: InProgress / MigratingData, a CopyingData 10 %, b Queued',
    'orders: InProgress / MigratingData, a CopyingData 20 %, b Queued',
  ])
  expect(changeLine(of({ warnings: ['x'] }))).toContain('1 warnings')
})

it('a terminal has one block that is painted over, and no line of it wraps', () => {
  let text = ''
  const progress = createProgress({ isTTY: true, columns: 40, write: (one: string) => (text = one) !== '' })
  progress.show(
    of({}, [waiting('a', { message: 'a message that is much longer than the terminal is wide' }), waiting('b')]),
  )
  const height = text.trimEnd().split('\n').length
  expect(height).toBe(6)
  expect(text.split('\n').every((line) => line.length <= 40)).toBe(true)
  progress.show(of({}, queued))
  expect(text.startsWith(`\u001b[${height}A\u001b[J`)).toBe(true)
})

it('a terminal that does not know its width shows the block all the same', () => {
  let text = ''
  createProgress({ isTTY: true, columns: 0, write: (one: string) => (text = one) !== '' }).show(of({}, queued))
  expect(text).toContain('orders')
})
