import type { MigrationEvent } from '../../migration/model/status.ts'
import { markup, type Html } from './html.ts'
import { number, time } from './measure.ts'
import { tone } from './summary.ts'
import { section, table } from './table.ts'

/** Warnings that stand. */
export function warningsSection(warnings: string[]): Html {
  return section(
    'Warnings',
    warnings.length === 0
      ? markup`<p>None.</p>`
      : markup`<ul>
          ${warnings.map((warning) => markup`<li>${warning}</li>`)}
        </ul>`,
  )
}

/** Events in the page, the newest of them; the JSON has all. */
const MOST_EVENTS = 2_000

/** What has happened, in order. */
export function eventsSection(events: MigrationEvent[]): Html {
  const shown = events.slice(-MOST_EVENTS)
  const rest = events.length - shown.length
  return section(
    'Events',
    rest > 0 ? markup`<p>${number(rest)} earlier ones are in the report as JSON.</p>` : undefined,
    table(
      ['When', 'Level', 'Database', 'Event', 'What happened'],
      shown.map(({ at, level, database, event, message }) => [
        time(at),
        markup`<span class="${tone(level)}">${level}</span>`,
        database,
        event,
        message,
      ]),
      'Nothing has happened yet.',
    ),
  )
}
