import type { MigrationRecord } from './record.ts'
import type { PutBody } from './resource.ts'

/**
 * The fields in which the body of a PUT differs from the migration that is there already. Nothing when the
 * request is a repetition: the same body again, or a GET result that is put back.
 *
 * @param asked the record that the body would make
 */
export function differences(existing: MigrationRecord, asked: MigrationRecord, body: PutBody): string[] {
  const names: string[] = []
  const compare = (name: string, a: unknown, b: unknown): void => {
    if (JSON.stringify(a) !== JSON.stringify(b)) names.push(name)
  }
  if (body.location !== undefined) compare('location', region(existing.location), region(asked.location))
  compare('tags', sorted(existing.tags ?? {}), sorted(asked.tags ?? {}))

  const { pgflex: existingOptions, ...existingProperties } = existing.properties
  const { pgflex: askedOptions, ...askedProperties } = asked.properties
  const properties = new Set([...Object.keys(existingProperties), ...Object.keys(askedProperties)])
  // Filled in with the moment of creation when it isn't given.
  if (body.properties.migrationWindowStartTimeInUtc === undefined) properties.delete('migrationWindowStartTimeInUtc')
  for (const name of properties) {
    const key = name as keyof typeof existingProperties
    compare(`properties.${name}`, existingProperties[key], askedProperties[key])
  }
  for (const name of new Set([...Object.keys(existingOptions), ...Object.keys(askedOptions)])) {
    const key = name as keyof typeof existingOptions
    compare(`properties.pgflex.${name}`, existingOptions[key], askedOptions[key])
  }
  // The users are part of the addresses; what is put back from a GET has no secretParameters.
  const users = body.properties.secretParameters
  if (users?.sourceServerUsername !== undefined) {
    compare('properties.secretParameters.sourceServerUsername', existing.source.user, asked.source.user)
  }
  if (users?.targetServerUsername !== undefined) {
    compare('properties.secretParameters.targetServerUsername', existing.target.user, asked.target.user)
  }
  return names
}

/** `East US 2` and `eastus2` are one. */
function region(location: string): string {
  return location.replace(/\s/g, '').toLowerCase()
}

function sorted(tags: Record<string, string>): [string, string][] {
  return Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1))
}
