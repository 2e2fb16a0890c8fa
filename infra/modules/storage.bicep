// One account: the state of the Durable extension, the deployed package, and the documents of the migrations.
param name string
param principalId string
param location string
param tags object

@description('The container of the documents: records, status and events of migrations.')
param documentsContainer string = 'pgflex'

@description('The container of the deployed package.')
param deploymentContainer string = 'deployment'

// The Functions host asks for Blob Data Owner; queues and tables are the Durable extension's.
var roles = {
  blobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  queueDataContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  tableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
}

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }

  resource blobs 'blobServices' = {
    name: 'default'

    resource documents 'containers' = {
      name: documentsContainer
    }

    resource deployment 'containers' = {
      name: deploymentContainer
    }
  }
}

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in items(roles): {
  scope: account
  name: guid(account.id, principalId, role.value)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.value)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}]

output name string = account.name
output documentsUrl string = '${account.properties.primaryEndpoints.blob}${documentsContainer}'
output deploymentContainerUrl string = '${account.properties.primaryEndpoints.blob}${deploymentContainer}'
