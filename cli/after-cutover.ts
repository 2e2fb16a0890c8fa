import type { AfterCutover } from '../migration/model/after-cutover.ts'

/** What the application must change, and what to switch on, for people. */
export function afterCutoverText(databases: AfterCutover[]): string {
  return [
    'After the cutover:',
    ...(databases[0]?.steps ?? []).map((step, index) => `${index + 1}. ${step}`),
    ...databases.flatMap(({ database, connectionStrings }) => [
      `${database}:`,
      ...connectionStrings.map(({ client, text }) => `  ${client.padEnd(6)} ${text}`),
    ]),
  ].join('\n')
}
