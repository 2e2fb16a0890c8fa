import { MigrationError } from '../errors.ts'

/** The version whose shape every answer has. */
export const API_VERSION = '2025-08-01'

/**
 * Versions of Microsoft.DBforPostgreSQL whose migrations have the same property names (`Db`, not `DB`) and
 * string flags as {@link API_VERSION}, so that its shape answers them all.
 */
export const API_VERSIONS = [
  '2023-03-01-preview',
  '2023-06-01-preview',
  '2023-12-01-preview',
  '2024-03-01-preview',
  '2024-08-01',
  '2024-11-01-preview',
  '2025-01-01-preview',
  '2025-06-01-preview',
  API_VERSION,
  '2026-01-01-preview',
  '2026-04-01-preview',
  '2026-07-01-preview',
]

/** @throws {MigrationError} MissingApiVersionParameter, UnsupportedApiVersion */
export function checkApiVersion(version: string | undefined): void {
  if (version === undefined || version === '') {
    throw new MigrationError(
      'MissingApiVersionParameter',
      `The api-version query parameter (?api-version=) is required for all requests.`,
      { hint: `Use ?api-version=${API_VERSION}.`, target: 'api-version' },
    )
  }
  if (!API_VERSIONS.includes(version.toLowerCase())) {
    throw new MigrationError('UnsupportedApiVersion', `The api-version "${version}" is not supported.`, {
      hint: `Supported are ${API_VERSIONS.join(', ')}.`,
      target: 'api-version',
    })
  }
}
