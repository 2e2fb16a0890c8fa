import { createHash } from 'node:crypto'

/** Where a migration is in Azure's tree of resources. */
export interface MigrationPath {
  subscriptionId: string
  resourceGroupName: string
  serverName: string
  migrationName: string
}

/** The server that a migration belongs to: its target. */
export function serverId({
  subscriptionId,
  resourceGroupName,
  serverName,
}: Omit<MigrationPath, 'migrationName'>): string {
  return `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroupName}/providers/Microsoft.DBforPostgreSQL/flexibleServers/${serverName}`
}

export function migrationId(path: MigrationPath): string {
  return `${serverId(path)}/migrations/${path.migrationName}`
}

/**
 * The key of a migration: readable, since it is also the id of the orchestration instance, and unique by a
 * hash of the id, which Azure compares whatever the case. `[a-z0-9-]`, at most 60 characters: it becomes part
 * of the name of a Key Vault secret (127).
 */
export function migrationKey(path: MigrationPath): string {
  const hash = createHash('sha256').update(migrationId(path).toLowerCase()).digest('hex').slice(0, 8)
  return `${slug(`${path.serverName}-${path.migrationName}`)}-${hash}`
}

function slug(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 51)
    .replace(/^-|-$/g, '')
}

/** Letters, digits and hyphens: what the service accepts in fact, and wider than its published pattern. */
const NAME = /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/

/** @returns what is wrong with the name of a migration, or undefined */
export function nameProblem(name: string): string | undefined {
  if (name.length > 63) return `The name of a migration has at most 63 characters; this one has ${name.length}.`
  if (!NAME.test(name)) {
    return `"${name}" cannot be the name of a migration: it is made of letters, digits and hyphens, and begins and ends with a letter or digit.`
  }
  return undefined
}

/** The parent of a migration's id. */
export function serverIdOf(id: string): string {
  return id.slice(0, id.toLowerCase().lastIndexOf('/migrations/'))
}
