// pgflex on Azure: the function app with its storage, key vault and monitoring, and the target server.
// Everything signs in by one user-assigned identity; there is no shared key and no connection string with a secret.
targetScope = 'resourceGroup'

@description('Name of the deployment; part of the names of its resources.')
@minLength(1)
@maxLength(32)
param environmentName string

param location string = resourceGroup().location

@description('Tags on every resource.')
param tags object = {}

// ---------------------------------------------------------------- the target

@description('False to migrate into a server that is there already; give its id in existingServerId.')
param deployServer bool = true

@description('Resource id of a flexible server that is there already.')
param existingServerId string = ''

@description('Name of the new server; must be unique in Azure.')
param serverName string = 'pg-${uniqueString(resourceGroup().id, environmentName)}'

@allowed(['13', '14', '15', '16', '17', '18'])
param postgresVersion string = '17'

@description('Compute size. Choose a larger one for the migration and a smaller one after it.')
param skuName string = 'Standard_D4ds_v5'

@allowed(['Burstable', 'GeneralPurpose', 'MemoryOptimized'])
param skuTier string = 'GeneralPurpose'

@description('At least 1.25 times the size of the source databases.')
param storageSizeGB int = 128

@description('Performance tier of the disk, such as P30; empty for the one that belongs to its size.')
param storageTier string = ''

@description('Switch it on after the migration: a standby doubles the cost of every write of the load.')
@allowed(['Disabled', 'SameZone', 'ZoneRedundant'])
param highAvailabilityMode string = 'Disabled'

@minValue(7)
@maxValue(35)
param backupRetentionDays int = 7

@allowed(['Disabled', 'Enabled'])
param geoRedundantBackup string = 'Disabled'

@description('Login of the administrator with a password; used only when a password is given.')
param administratorLogin string = 'pgflexadmin'

@description('Empty: only Microsoft Entra identities sign in. Roles with passwords, such as those of an application, need one.')
@secure()
param administratorPassword string = ''

@description('Extensions that may be created: the server parameter azure.extensions.')
param allowedExtensions string[] = []

@description('Further server parameters.')
param serverParameters { name: string, value: string }[] = []

// --------------------------------------------------------------- the network

@description('Public: firewall rules. NewVirtualNetwork: private access in a network made here. ExistingVirtualNetwork: private access in subnets of yours, for sources behind a VPN or ExpressRoute.')
@allowed(['Public', 'NewVirtualNetwork', 'ExistingVirtualNetwork'])
param networkMode string = 'Public'

@description('Public: lets in every address of Azure, which the function app needs, as its addresses are not fixed.')
param allowAzureServices bool = true

@description('Public: further addresses that may connect.')
param firewallRules { name: string, startIpAddress: string, endIpAddress: string }[] = []

@description('NewVirtualNetwork: address space, /24 or larger.')
param virtualNetworkPrefix string = '10.80.0.0/24'

@description('ExistingVirtualNetwork: subnet delegated to Microsoft.App/environments.')
param functionSubnetId string = ''

@description('ExistingVirtualNetwork: subnet delegated to Microsoft.DBforPostgreSQL/flexibleServers.')
param serverSubnetId string = ''

@description('ExistingVirtualNetwork: private DNS zone that ends in .postgres.database.azure.com and is linked to the network.')
param privateDnsZoneId string = ''

// ---------------------------------------------------------- the function app

@allowed(['22', '24'])
param nodeVersion string = '24'

@description('Memory of an instance.')
@allowed([2048, 4096])
param instanceMemoryMB int = 2048

@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances that always run for orchestrations and activities: replication is steady work.')
@minValue(0)
param alwaysReadyInstances int = 1

@description('True: not even an owner can purge a secret before its retention has ended, so a deleted password stays recoverable that long.')
param keyVaultPurgeProtection bool = false

var token = uniqueString(resourceGroup().id, environmentName)
var allTags = union(tags, { 'azd-env-name': environmentName })
var isPrivate = networkMode != 'Public'
var isNewNetwork = networkMode == 'NewVirtualNetwork'

module identity 'modules/identity.bicep' = {
  params: {
    name: 'id-pgflex-${token}'
    location: location
    tags: allTags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  params: {
    workspaceName: 'log-pgflex-${token}'
    applicationInsightsName: 'appi-pgflex-${token}'
    principalId: identity.outputs.principalId
    location: location
    tags: allTags
  }
}

module storage 'modules/storage.bicep' = {
  params: {
    name: 'stpgflex${token}'
    principalId: identity.outputs.principalId
    location: location
    tags: allTags
  }
}

module keyVault 'modules/key-vault.bicep' = {
  params: {
    name: 'kv-pgflex-${token}'
    principalId: identity.outputs.principalId
    purgeProtection: keyVaultPurgeProtection
    location: location
    tags: allTags
  }
}

module network 'modules/network.bicep' = if (isNewNetwork) {
  params: {
    name: 'vnet-pgflex-${token}'
    addressPrefix: virtualNetworkPrefix
    privateDnsZoneName: '${serverName}-zone.private.postgres.database.azure.com'
    location: location
    tags: allTags
  }
}

module server 'modules/flexible-server.bicep' = if (deployServer) {
  params: {
    name: serverName
    version: postgresVersion
    skuName: skuName
    skuTier: skuTier
    storageSizeGB: storageSizeGB
    storageTier: storageTier
    highAvailabilityMode: highAvailabilityMode
    backupRetentionDays: backupRetentionDays
    geoRedundantBackup: geoRedundantBackup
    administratorLogin: administratorLogin
    administratorPassword: administratorPassword
    entraAdministratorName: identity.outputs.name
    entraAdministratorObjectId: identity.outputs.principalId
    allowedExtensions: allowedExtensions
    serverParameters: serverParameters
    delegatedSubnetId: isNewNetwork ? network!.outputs.serverSubnetId : (isPrivate ? serverSubnetId : '')
    privateDnsZoneId: isNewNetwork ? network!.outputs.privateDnsZoneId : (isPrivate ? privateDnsZoneId : '')
    allowAzureServices: allowAzureServices
    firewallRules: firewallRules
    location: location
    tags: allTags
  }
}

module functionApp 'modules/function-app.bicep' = {
  params: {
    name: 'func-pgflex-${token}'
    planName: 'plan-pgflex-${token}'
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageAccountName: storage.outputs.name
    deploymentContainerUrl: storage.outputs.deploymentContainerUrl
    documentsUrl: storage.outputs.documentsUrl
    keyVaultUrl: keyVault.outputs.url
    targetServerId: deployServer ? server!.outputs.id : existingServerId
    applicationInsightsConnectionString: monitoring.outputs.connectionString
    subnetId: isNewNetwork ? network!.outputs.functionSubnetId : (isPrivate ? functionSubnetId : '')
    nodeVersion: nodeVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyInstances: alwaysReadyInstances
    location: location
    tags: union(allTags, { 'azd-service-name': 'pgflex' })
  }
}

@description('Where the API and the page are.')
output PGFLEX_URL string = functionApp.outputs.url

@description('The user name for a target without a password: the Entra administrator of the server.')
output PGFLEX_TARGET_USER string = identity.outputs.name

output PGFLEX_TARGET_SERVER_ID string = deployServer ? server!.outputs.id : existingServerId
output PGFLEX_TARGET_HOST string = deployServer ? server!.outputs.host : ''
output PGFLEX_DOCUMENTS_URL string = storage.outputs.documentsUrl
output PGFLEX_KEY_VAULT_URL string = keyVault.outputs.url
