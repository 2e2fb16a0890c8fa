import { createHash } from 'node:crypto'
import type { MigrationReport } from '../../migration/report.ts'
import { comparisonSection, cutoverSection } from './cutover.ts'
import { wayBackSection } from './way-back.ts'
import { eventsSection, warningsSection } from './history.ts'
import { markup, Html } from './html.ts'
import { movedSection } from './moved.ts'
import { nextStepsSection } from './next-steps.ts'
import { plotsSection } from './plots.ts'
import { readinessSection } from './readiness.ts'
import { settingsSection } from './settings.ts'
import { summarySection } from './summary.ts'
import { validationSection } from './validation.ts'

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d0d4da, #444a52); --good: light-dark(#116329, #6bd68a); --bad: light-dark(#b3261e, #ff9b92); --fair: light-dark(#7a4b00, #f0c14b); --ink: light-dark(#0b57d0, #8ab4f8) }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.5rem } dt { font-weight: 600 } dd { margin: 0 }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9em; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line) } th { white-space: nowrap }
td, dd, li, code, summary, h1, h3 { unicode-bidi: isolate; overflow-wrap: anywhere } code { user-select: all; white-space: pre-wrap }
td { min-width: 5rem }
.good { color: var(--good) } .bad { color: var(--bad) } .fair { color: var(--fair) }
details { margin-top: 1rem } summary { font-weight: 600; cursor: pointer }
figure { margin: 1rem 0 } figcaption { font-weight: 600 } svg { width: 100%; max-width: 60rem }
svg text { font-size: 11px; fill: currentColor } svg .axis { stroke: var(--line) }
svg polyline { fill: none; stroke: var(--ink); stroke-width: 1.5 } svg circle { fill: var(--ink) }
@media print { body { max-width: none; margin: 0 } h2 { break-after: avoid } figure, tr { break-inside: avoid } }
`

/** Its own style and nothing else: no script and no request, also when the page is opened as a file years later. */
export const CONTENT_SECURITY_POLICY = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'`

/** The report of a migration as one page that needs nothing from elsewhere. */
export function reportPage(report: MigrationReport): string {
  const { migration, databases, events } = report
  const { pgflex, currentSubStateDetails } = migration.properties.currentStatus
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="content-security-policy" content="${CONTENT_SECURITY_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${migration.name}: report of the migration</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<h1>${migration.name}</h1>
<p>Report of a migration to PostgreSQL at ${report.target.host}</p>
${summarySection(report)}${warningsSection(pgflex.warnings)}${readinessSection(Object.values(currentSubStateDetails.dbDetails))}${cutoverSection(pgflex)}${wayBackSection(Object.values(currentSubStateDetails.dbDetails))}${comparisonSection(pgflex)}
${nextStepsSection(databases.map(({ afterCutover }) => afterCutover))}${movedSection(report)}${plotsSection(databases)}
${settingsSection(report)}${validationSection(currentSubStateDetails.validationDetails)}${eventsSection(events)}
</body>
</html>
`.toString()
}
