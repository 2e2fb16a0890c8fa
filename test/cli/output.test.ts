import { expect, it } from 'vitest'
import { databaseRows, migrationRows, readinessRows, render, table } from '../../cli/output.ts'
import { toResource } from '../../migration/model/wire.ts'
import { database, record, server, waiting } from '../migration/model/example.ts'

const resource = toResource(record(), server(), [
  waiting('a', { lagBytes: 2048, progress: { rowsDone: 0, rowsTotal: 0, bytesDone: 3_500_000_000, bytesTotal: 0 } }),
  database('b', {
    phase: 'CopyingData',
    tables: { queued: 3, loading: 1, completed: 17, errored: 0 },
    message: 'two\nlines',
  }),
])

it('a table has a header, dashes, and two spaces between its columns', () => {
  expect(render('table', resource, () => [migrationRows([resource]), databaseRows(resource)])).toBe(
    [
      'Name    Mode    State       Substate       Started',
      '------  ------  ----------  -------------  ----------------',
      'orders  Online  InProgress  MigratingData  2026-11-22 08:00',
      '',
      'Database  State                     Phase        Tables  Copied   Applied  Latency  Lag    Ready  Message',
      '--------  ------------------------  -----------  ------  -------  -------  -------  -----  -----  ---------',
      'a         WaitingForCutoverTrigger  Following    0/0     3.3 GiB  0        0 s      2 KiB  5/11',
      'b         InProgress                CopyingData  17/21   0 B      0        -        -      2/11   two lines',
      '',
    ].join('\n'),
  )
})

it('tsv is the values alone, json the value, none nothing', () => {
  const rows = (): ReturnType<typeof migrationRows>[] => [migrationRows([resource])]
  expect(render('tsv', resource, rows)).toBe('orders\tOnline\tInProgress\tMigratingData\t2026-11-22 08:00\n')
  expect(JSON.parse(render('json', resource, rows))).toEqual(resource)
  expect(render('none', resource, rows)).toBe('')
  expect(render('table', [], () => [[]])).toBe('')
})

it('a value cannot move the cursor of a terminal', () => {
  expect(table([{ Name: '\u001b[2Jx\ty' }])).toBe('Name\n-------\n [2Jx y\n')
})

it('lists what must hold before cutover, and whether it does', () => {
  const rows = readinessRows(resource)
  expect(rows).toHaveLength(22)
  expect(rows[11]).toEqual({ Database: 'b', Check: 'tables copied', Ready: 'no', Why: '17 of 21 tables are copied.' })
  expect(rows[3]).toMatchObject({ Database: 'a', Check: 'latency', Ready: 'yes' })
})
