import type { PgflexStatus } from '../../migration/model/migration-resource.ts'
import { markup, type Html } from './html.ts'
import { duration, number, seconds } from './measure.ts'
import { tone } from './summary.ts'
import { section, table } from './table.ts'

/** The steps of the cutover with their times. */
export function cutoverSection({ cutover }: Pick<PgflexStatus, 'cutover'>): Html {
  if (!cutover) return section('Cutover', markup`<p>There has been none that went through.</p>`)
  const { downtimeSeconds } = cutover
  return section(
    'Cutover',
    markup`<p>
      ${
        downtimeSeconds === undefined
          ? 'It has not ended.'
          : markup`Downtime <strong>${seconds(downtimeSeconds)}</strong>, from the freeze of writes to the last step.`
      }
    </p>`,
    table(
      ['Database', 'Step', 'Started (UTC)', 'Took', 'Message'],
      cutover.steps.map((step) => [
        step.database,
        step.name,
        // Here milliseconds count.
        step.startedAt.slice(0, 23).replace('T', ' '),
        duration(step.startedAt, step.endedAt),
        step.message,
      ]),
      'No step has ended yet.',
    ),
  )
}

/** Differences in the page; the JSON has all of them. */
const MOST_DIFFERENCES = 500

/** What was compared, and what differed. */
export function comparisonSection({ verification }: Pick<PgflexStatus, 'verification'>): Html {
  if (!verification) return section('Comparison', markup`<p>Nothing has been compared yet.</p>`)
  const { mode, result, tables, rows, differences, atMarks, whole } = verification
  const rest = differences.length - MOST_DIFFERENCES
  return section(
    'Comparison',
    markup`<p>
      <strong class="${tone(result)}">${result}</strong>: ${mode}, ${number(tables)} tables, ${number(rows)} rows,
      ${seconds(verification.seconds)}
    </p>`,
    atMarks && whole
      ? markup`<p>
          ${number(atMarks.tables)} tables had been compared before the cutover: of them, the ${number(atMarks.rows)} rows that
          changed since were compared again. ${number(whole.tables)} tables were compared whole, with ${number(whole.rows)} rows.
        </p>`
      : undefined,
    differences.length === 0
      ? undefined
      : table(
          ['Database', 'Table', 'Source', 'Target'],
          differences.slice(0, MOST_DIFFERENCES).map((one) => [one.database, one.table, one.source, one.target]),
          '',
        ),
    rest > 0 ? markup`<p>${number(rest)} more are in the report as JSON.</p>` : undefined,
  )
}
