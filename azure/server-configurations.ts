import {
  PostgreSQLManagementFlexibleServerClient,
  type PostgreSQLManagementFlexibleServerClientOptionalParams as ClientOptions,
} from '@azure/arm-postgresql-flexible'
import type { TokenCredential } from '@azure/identity'
import { MigrationError } from '../migration/errors.ts'
import type { ConfigurationWriter } from '../migration/server/configuration-writer.ts'
import { azureError } from './azure-error.ts'

export interface ServerConfigurationsOptions extends ClientOptions {
  /** Between two looks at an update that is under way, ms; default: what Azure asks for, else 2 s. */
  updateIntervalInMs?: number
}

/** Azure's name for "somebody set this", as against `system-default`. */
const SOURCE = 'user-override'

/**
 * The server parameters of a flexible server through Azure Resource Manager. Azure carries out one change
 * of a server at a time, so changes made through one writer wait for each other.
 *
 * @param serverId `/subscriptions/…/resourceGroups/…/providers/Microsoft.DBforPostgreSQL/flexibleServers/<name>`
 * @throws {MigrationError} TargetServerId when the id is not of that form
 */
export function serverConfigurations(
  serverId: string,
  credential: TokenCredential,
  { updateIntervalInMs, ...options }: ServerConfigurationsOptions = {},
): ConfigurationWriter {
  const { subscription, group, server } = parseServerId(serverId)
  const client = new PostgreSQLManagementFlexibleServerClient(credential, subscription, options)
  let lastChange: Promise<unknown> = Promise.resolve()

  function fail(what: string): (error: unknown) => never {
    return (error) => {
      throw azureError(error, { what, role: 'Contributor', scope: serverId })
    }
  }

  async function list(): ReturnType<ConfigurationWriter['list']> {
    const configurations = []
    for await (const c of client.configurations.listByServer(group, server)) {
      configurations.push({
        name: c.name!,
        value: c.value ?? '',
        isDynamicConfig: c.isDynamicConfig ?? false,
        isReadOnly: c.isReadOnly ?? false,
        isConfigPendingRestart: c.isConfigPendingRestart ?? false,
        ...(c.allowedValues === undefined ? {} : { allowedValues: c.allowedValues }),
        ...(c.dataType === undefined ? {} : { dataType: c.dataType }),
      })
    }
    return configurations
  }

  async function set(name: string, value: string): Promise<void> {
    await client.configurations.beginUpdateAndWait(
      group,
      server,
      name,
      { value, source: SOURCE },
      { updateIntervalInMs },
    )
  }

  return {
    list: () => list().catch(fail('read the server parameters')),
    set(name, value) {
      const change = lastChange
        .then(() => set(name, value))
        .catch(fail(`set the server parameter ${name} to "${value}"`))
      lastChange = change.catch(() => {})
      return change
    },
  }
}

/** Ids of Azure Resource Manager are case-insensitive. */
export function parseServerId(serverId: string): { subscription: string; group: string; server: string } {
  const match =
    /^\/subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/providers\/Microsoft\.DBforPostgreSQL\/flexibleServers\/([^/]+)\/?$/i.exec(
      serverId,
    )
  if (!match) {
    throw new MigrationError('TargetServerId', `"${serverId}" is not the resource id of a flexible server.`, {
      hint: 'Copy it from: az postgres flexible-server show --query id',
    })
  }
  return { subscription: match[1]!, group: match[2]!, server: match[3]! }
}
