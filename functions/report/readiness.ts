import type { DatabaseDetail } from '../../migration/model/migration-resource.ts'
import { markup, type Html } from './html.ts'
import { section, table } from './table.ts'

/** What must hold before cutover, of the databases that are still to be cut over; none when there are none. */
export function readinessSection(databases: DatabaseDetail[]): Html | undefined {
  const rows = databases.flatMap(({ databaseName, pgflex }) =>
    (pgflex.readiness ?? []).map(({ check, ok, message }) => [
      databaseName,
      check,
      markup`<span class="${ok ? 'good' : 'bad'}">${ok ? 'ready' : 'not ready'}</span>`,
      message,
    ]),
  )
  if (rows.length === 0) return undefined
  return section('Readiness for cutover', table(['Database', 'What must hold', 'State', 'Why'], rows, ''))
}
