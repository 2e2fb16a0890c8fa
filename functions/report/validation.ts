import type { ValidationDetails, ValidationSummaryItem } from '../../migration/model/status.ts'
import { markup, type Html } from './html.ts'
import { time } from './measure.ts'
import { tone } from './summary.ts'
import { section, table } from './table.ts'

/** What was checked before anything was done. */
export function validationSection(validation: ValidationDetails | undefined): Html {
  if (!validation) return section('Validation', markup`<p>None was made, or it has not ended yet.</p>`)
  const items = [
    ...validation.serverLevelValidationDetails.map((item) => ({ of: 'the servers', item })),
    ...validation.dbLevelValidationDetails.flatMap(({ databaseName, summary }) =>
      summary.map((item) => ({ of: databaseName, item })),
    ),
  ]
  return section(
    'Validation',
    markup`<p>
      <strong class="${tone(validation.status)}">${validation.status}</strong>,
      ${time(validation.validationEndTimeInUtc)}
    </p>`,
    table(
      ['Check', 'Of', 'Result', 'What it found'],
      items.map(({ of, item }) => [
        item.type,
        of,
        markup`<span class="${tone(item.state)}">${item.state}</span>`,
        words(item),
      ]),
      'Nothing was checked.',
    ),
  )
}

function words({ messages = [] }: ValidationSummaryItem): Html {
  return markup`${messages.map(({ message }) => markup`<div>${message}</div>`)}`
}
