import type { ErrorBody, Migration } from '../migration/model/migration-resource.ts'

/** The path of the demo's migration below the address of the host; see the API of the Azure service. */
const MIGRATION_PATH =
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.DBforPostgreSQL/flexibleServers/local/migrations/demo?api-version=2025-08-01'

/** The one migration of the demo, over the public API. */
export interface MigrationClient {
  create(properties: object): Promise<Migration>
  get(): Promise<Migration>
  cutOver(databases: readonly string[]): Promise<Migration>
}

/** The API refused a request. */
export class RequestError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export function migrationClient(host: { url: string; key: string }, signal: AbortSignal): MigrationClient {
  async function send(method: string, body?: object): Promise<Migration> {
    const response = await fetch(host.url + MIGRATION_PATH, {
      method,
      headers: { authorization: `Bearer ${host.key}`, 'content-type': 'application/json' },
      body: body && JSON.stringify(body),
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_LIMIT_MS)]),
    })
    const text = await response.text()
    if (!response.ok)
      throw new RequestError(response.status, `${method} was answered ${response.status}: ${errorOf(text)}`)
    return JSON.parse(text) as Migration
  }
  return {
    create: (properties) => send('PUT', { location: 'local', properties }),
    get: () => send('GET'),
    cutOver: (databases) => send('PATCH', { properties: { triggerCutover: 'True', dbsToTriggerCutoverOn: databases } }),
  }
}

/** Every request is answered from what is stored; a host that takes longer hangs. */
const REQUEST_LIMIT_MS = 30_000

function errorOf(text: string): string {
  try {
    const { error } = JSON.parse(text) as ErrorBody
    const details = error.details?.map(({ message }) => message) ?? []
    return [`${error.code}: ${error.message}`, ...details.filter((one) => one !== error.message)].join(' ')
  } catch {
    return text.slice(0, 500)
  }
}
