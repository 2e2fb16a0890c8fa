// The passwords of running migrations, and nothing else.
@maxLength(24)
param name string
param principalId string
param purgeProtection bool
param location string
param tags object

@description('How long a deleted secret can be recovered, unless it is purged.')
@minValue(7)
@maxValue(90)
param softDeleteRetentionDays int = 7

var keyVaultSecretsOfficer = 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: subscription().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: softDeleteRetentionDays
    // Once on it can't be switched off, and false is refused: leaving it out is what "off" is.
    enablePurgeProtection: purgeProtection ? true : null
  }
}

resource officer 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, principalId, keyVaultSecretsOfficer)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsOfficer)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

output url string = vault.properties.vaultUri
