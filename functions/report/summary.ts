import type { MigrationReport } from '../../migration/report.ts'
import { markup, type Html } from './html.ts'
import { bytes, duration, number, seconds, time } from './measure.ts'
import { section } from './table.ts'

/** What a reader wants to know first: did it go well, how much, how long, how long was it down. */
export function summarySection({ migration, versions, source, target, generatedAt, databases }: MigrationReport): Html {
  const { currentStatus, migrationMode, sourceType, migrationWindowStartTimeInUtc: started } = migration.properties
  const { pgflex, state, error, currentSubStateDetails } = currentStatus
  const details = Object.values(currentSubStateDetails.dbDetails)
  const isOver = currentSubStateDetails.currentSubState === 'Completed'
  const ended = isOver ? migration.properties.migrationWindowEndTimeInUtc : undefined
  const { progress, cutover, verification } = pgflex
  const facts: [string, string | Html | undefined][] = [
    [
      'State',
      markup`<strong class="${tone(state)}">${state}</strong> ${isOver ? '' : currentSubStateDetails.currentSubState}`,
    ],
    ['Error', error],
    ['Source', `${source.host}:${source.port}, PostgreSQL ${versions.source ?? 'not known yet'}, ${sourceType}`],
    ['Target', `${target.host}:${target.port}, PostgreSQL ${versions.target ?? 'not known yet'}`],
    ['Mode', migrationMode],
    ['Started', time(started)],
    ['Ended', ended && `${time(ended)}, after ${duration(started, ended)}`],
    ['Databases', String(databases.length)],
    [
      'Copied',
      `${number(progress.rowsDone)} rows, ${bytes(progress.bytesDone)}${isOver ? '' : ` of ${bytes(progress.bytesTotal)}`}`,
    ],
    ['Changes applied', number(details.reduce((sum, { appliedChanges }) => sum + appliedChanges, 0))],
    ['Latency', pgflex.latencySeconds === undefined ? undefined : seconds(pgflex.latencySeconds)],
    ['Greatest latency', pgflex.maxLatencySeconds === undefined ? undefined : seconds(pgflex.maxLatencySeconds)],
    ['Downtime', cutover?.downtimeSeconds === undefined ? undefined : seconds(cutover.downtimeSeconds)],
    [
      'Comparison',
      verification &&
        markup`<span class="${tone(verification.result)}">${verification.result}</span> (${verification.mode})`,
    ],
    ['Warnings', number(pgflex.warnings.length)],
    ['Migration id', migration.properties.migrationId],
    ['This report', `pgflex ${versions.pgflex}, ${time(generatedAt)}`],
  ]
  return section(
    'Summary',
    markup`<dl>
      ${facts
        .filter(([, value]) => value !== undefined)
        .map(
          ([name, value]) =>
            markup`<dt>${name}</dt>
              <dd>${value}</dd> `,
        )}
    </dl>`,
  )
}

/** The colour of a word that says how something went. */
export function tone(word: string): 'good' | 'bad' | 'fair' {
  if (/^(Succeeded|Equal|Set|info|completed)$/.test(word)) return 'good'
  return /^(Failed|ValidationFailed|Different|error|errored)$/.test(word) ? 'bad' : 'fair'
}
