import type { MigrationReport } from '../../migration/report.ts'
import { markup, type Html } from './html.ts'
import { tone } from './summary.ts'
import { section, table } from './table.ts'

/** Server parameters that differ, what became of roles, and the options of the migration. */
export function settingsSection({ parameters, migration }: MigrationReport): Html {
  const { migrateRoles, sslMode, pgflex, currentStatus } = migration.properties
  const ofRoles = currentStatus.pgflex.warnings.filter((warning) => /\b(roles?|owners?|grants?)\b/i.test(warning))
  return section(
    'Parameters and roles',
    table(
      ['Parameter', 'Of', 'Source', 'Target', 'Result', 'Why'],
      parameters.map((one) => [
        one.name,
        one.database ?? 'the server',
        one.sourceValue,
        one.targetValue,
        markup`<span class="${tone(one.result)}">${one.result}</span>`,
        one.reason,
      ]),
      'No server parameter was found to differ from its default on the source.',
    ),
    markup`<h3>Roles</h3>
      <p>migrateRoles: ${migrateRoles}.</p>`,
    ofRoles.length === 0
      ? undefined
      : markup`<ul>
          ${ofRoles.map((warning) => markup`<li>${warning}</li>`)}
        </ul>`,
    markup`<h3>Options</h3>`,
    table(
      ['Option', 'Value'],
      [
        ['sslMode', sslMode],
        ...Object.entries(pgflex)
          .filter(([, value]) => value !== undefined)
          .map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : String(value)]),
      ],
      '',
    ),
  )
}
