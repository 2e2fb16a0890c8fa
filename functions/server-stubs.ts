import { serverId } from '../migration/model/migration-id.ts'
import { listMigrations } from '../migration/read-migration.ts'
import { route, SERVER_ROUTE, serverPath } from './http.ts'

/**
 * The resources around a migration that the az command line asks for before each of its commands: the target
 * server, where it looks for an elastic cluster, and the resource group, for its location.
 */

const GROUP_ROUTE = 'subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}'

route('getFlexibleServer', { methods: ['GET'], route: SERVER_ROUTE, apiVersion: 'any' }, async (request, base) => {
  const path = serverPath(request)
  const id = serverId(path)
  const newest = (await listMigrations(base, id)).at(-1)
  const { serverName } = path
  return {
    status: 200,
    jsonBody: {
      id,
      name: serverName,
      type: 'Microsoft.DBforPostgreSQL/flexibleServers',
      location: newest?.record.location ?? 'local',
      properties: {
        fullyQualifiedDomainName:
          newest?.record.target.host ?? `${serverName.toLowerCase()}.postgres.database.azure.com`,
        // The servers are asked for it by the migrations; before the first nobody knows.
        ...(newest?.server.targetVersion === undefined ? {} : { version: newest.server.targetVersion }),
        state: 'Ready',
        replicationRole: 'Primary',
        network: { publicNetworkAccess: 'Enabled' },
      },
    },
  }
})

route('getResourceGroup', { methods: ['GET', 'HEAD'], route: GROUP_ROUTE, apiVersion: 'any' }, async (request) => {
  const { subscriptionId, resourceGroupName } = serverPath(request)
  if (request.method === 'HEAD') return { status: 204 }
  return {
    status: 200,
    jsonBody: {
      id: `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroupName}`,
      name: resourceGroupName,
      type: 'Microsoft.Resources/resourceGroups',
      location: 'local',
      properties: { provisioningState: 'Succeeded' },
    },
  }
})
