import type { AfterCutover } from '../../migration/model/after-cutover.ts'
import { markup, type Html } from './html.ts'
import { section, table } from './table.ts'

/** What the application must change, as text to copy, and what to switch on. */
export function nextStepsSection(databases: AfterCutover[]): Html {
  const steps = databases[0]?.steps ?? []
  return section(
    'After the cutover',
    markup`<ol>
      ${steps.map((step) => markup`<li>${step}</li>`)}
    </ol>`,
    ...databases.map(
      ({ database, connectionStrings }) =>
        markup`<h3>${database}</h3>
          ${table(
            ['Client', 'Connection'],
            connectionStrings.map(({ client, text }) => [client, markup`<code>${text}</code>`]),
            '',
          )}`,
    ),
  )
}
