import { DefaultAzureCredential, type TokenCredential } from '@azure/identity'

/**
 * Who we are to Azure: the managed identity of the function app there, the signed-in developer on a
 * workstation (Azure CLI, azd, Visual Studio Code).
 *
 * @param managedIdentityClientId which identity, when the app has several; by default the environment's AZURE_CLIENT_ID
 */
export function azureCredential(managedIdentityClientId?: string): TokenCredential {
  return new DefaultAzureCredential(managedIdentityClientId === undefined ? {} : { managedIdentityClientId })
}
