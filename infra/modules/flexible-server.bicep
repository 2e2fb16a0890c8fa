// The target. The function app's identity is its Entra administrator, and may set its server parameters.
param name string
param version string
param skuName string
param skuTier string
param storageSizeGB int
param storageTier string
param highAvailabilityMode string
param backupRetentionDays int
param geoRedundantBackup string
param administratorLogin string

@secure()
param administratorPassword string

param entraAdministratorName string
param entraAdministratorObjectId string
param allowedExtensions string[]
param serverParameters { name: string, value: string }[]

@description('Empty for public access.')
param delegatedSubnetId string
param privateDnsZoneId string
param allowAzureServices bool
param firewallRules { name: string, startIpAddress: string, endIpAddress: string }[]
param location string
param tags object

var isPublic = empty(delegatedSubnetId)
var passwordAuth = !empty(administratorPassword)

// For ReverseReplication, the way back after cutover, the target has to decode its own changes. wal_level and the
// two limits take effect at the next restart.
var logicalReplication = [
  { name: 'wal_level', value: 'logical' }
  { name: 'max_replication_slots', value: '32' }
  { name: 'max_wal_senders', value: '32' }
]
var extensions = empty(allowedExtensions) ? [] : [{ name: 'azure.extensions', value: join(allowedExtensions, ',') }]
var parameters = concat(logicalReplication, extensions, serverParameters)
var rules = concat(
  // 0.0.0.0 is not an address: to Azure it means all addresses of Azure.
  allowAzureServices ? [{ name: 'azure', startIpAddress: '0.0.0.0', endIpAddress: '0.0.0.0' }] : [],
  firewallRules
)

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: skuName, tier: skuTier }
  properties: {
    createMode: 'Default'
    version: version
    administratorLogin: passwordAuth ? administratorLogin : null
    administratorLoginPassword: passwordAuth ? administratorPassword : null
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: passwordAuth ? 'Enabled' : 'Disabled'
      tenantId: subscription().tenantId
    }
    storage: {
      storageSizeGB: storageSizeGB
      // A full disk makes the server read-only in the middle of a load.
      autoGrow: 'Enabled'
      tier: empty(storageTier) ? null : storageTier
    }
    backup: { backupRetentionDays: backupRetentionDays, geoRedundantBackup: geoRedundantBackup }
    highAvailability: { mode: highAvailabilityMode }
    network: isPublic
      ? { publicNetworkAccess: 'Enabled' }
      : { delegatedSubnetResourceId: delegatedSubnetId, privateDnsZoneArmResourceId: privateDnsZoneId }
  }
}

// A server does one change of its own at a time: the rest follows one by one.
@batchSize(1)
resource firewall 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2025-08-01' = [for rule in rules: if (isPublic) {
  parent: server
  name: rule.name
  properties: { startIpAddress: rule.startIpAddress, endIpAddress: rule.endIpAddress }
}]

resource administrator 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = {
  parent: server
  name: entraAdministratorObjectId
  properties: {
    principalName: entraAdministratorName
    principalType: 'ServicePrincipal'
    tenantId: subscription().tenantId
  }
  dependsOn: [firewall]
}

@batchSize(1)
resource configurations 'Microsoft.DBforPostgreSQL/flexibleServers/configurations@2025-08-01' = [for parameter in parameters: {
  parent: server
  name: parameter.name
  properties: { value: parameter.value, source: 'user-override' }
  dependsOn: [administrator]
}]

// Narrower than any role that Azure has: read the server, set its parameters, follow the operation.
resource parametersRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, name, 'pgflex server parameters')
  properties: {
    roleName: 'pgflex server parameters (${name})'
    description: 'Read a flexible server and set its server parameters.'
    type: 'customRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          'Microsoft.DBforPostgreSQL/flexibleServers/read'
          'Microsoft.DBforPostgreSQL/flexibleServers/configurations/read'
          'Microsoft.DBforPostgreSQL/flexibleServers/configurations/write'
          'Microsoft.DBforPostgreSQL/locations/azureAsyncOperation/read'
          'Microsoft.DBforPostgreSQL/locations/operationResults/read'
        ]
      }
    ]
  }
}

resource parametersAssignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: server
  name: guid(server.id, entraAdministratorObjectId, 'pgflex server parameters')
  properties: {
    roleDefinitionId: parametersRole.id
    principalId: entraAdministratorObjectId
    principalType: 'ServicePrincipal'
  }
}

output id string = server.id
output host string = server.properties.fullyQualifiedDomainName
