// Values for azd (`azd up`) and for `az deployment group create --parameters infra/main.bicepparam`.
// An example: choose version, size, extensions and server parameters after your source.
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'pgflex')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')

param postgresVersion = '17'
param skuName = 'Standard_D4ds_v5'
param skuTier = 'GeneralPurpose'
param storageSizeGB = 128
param allowedExtensions = ['pg_stat_statements']
param serverParameters = []

// Never in this file. Empty: only Entra identities sign in to the server.
param administratorPassword = readEnvironmentVariable('PGFLEX_TARGET_ADMIN_PASSWORD', '')
