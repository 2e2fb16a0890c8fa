import { setTimeout as sleep } from 'node:timers/promises'
import type { TokenCredential } from '@azure/identity'
import { SecretClient, type SecretClientOptions } from '@azure/keyvault-secrets'
import type { SecretStore } from '../migration/store/secrets.ts'
import { azureError, httpStatus } from './azure-error.ts'

export interface KeyVaultOptions extends SecretClientOptions {
  /** Between two looks at a deletion or recovery that is under way, ms. */
  pollMs?: number
}

/** Key Vault ends a deletion, recovery or purge within seconds: https://learn.microsoft.com/azure/key-vault/general/key-vault-recovery */
const POLL_MS = 1_000
const POLLS = 30

/**
 * Secrets in a Key Vault with soft delete. A deleted secret keeps its name until it is purged, and setting
 * that name answers 409: it is recovered first and then gets its new value. Deleting purges as well where
 * the vault allows it, so that a password is gone when its migration is; with purge protection the vault keeps
 * it, unreadable through the normal path, until its retention ends.
 *
 * @param vaultUrl `https://<name>.vault.azure.net`
 * @returns a store whose calls throw {@link MigrationError} AzureForbidden, AzureUnreachable, AzureSignIn
 */
export function keyVaultSecrets(
  vaultUrl: string,
  credential: TokenCredential,
  { pollMs = POLL_MS, ...options }: KeyVaultOptions = {},
): SecretStore {
  const client = new SecretClient(vaultUrl, credential, options)
  const fail =
    (what: string) =>
    (error: unknown): never => {
      throw azureError(error, { what, role: 'Key Vault Secrets Officer', scope: vaultUrl })
    }

  async function set(name: string, value: string): Promise<void> {
    for (let poll = 0; ; poll++) {
      const conflict = await unless([409], client.setSecret(name, value), poll < POLLS)
      if (conflict !== 409) return
      // Deleted, being deleted, or being recovered by somebody else: recovering answers 404 or 409 in the last two.
      const recovering = await unless([404, 409], client.beginRecoverDeletedSecret(name, { intervalInMs: pollMs }))
      if (typeof recovering === 'number' || !recovering.isDone()) await sleep(pollMs)
    }
  }

  async function remove(name: string): Promise<void> {
    const deletion = await unless([404], client.beginDeleteSecret(name, { intervalInMs: pollMs }))
    // It is looked for once also when there was nothing to delete: the purge may be what an earlier run did not reach.
    const polls = typeof deletion === 'number' || deletion.getResult()?.properties.recoveryId === undefined ? 1 : POLLS
    for (let poll = 0; poll < polls; poll++) {
      const deleted = await unless([403, 404], client.getDeletedSecret(name))
      if (deleted === 403) return
      if (deleted !== 404) {
        if (!deleted.properties.recoveryLevel?.includes('Purgeable')) return
        // 403: no right to purge; 404, 409: somebody else purges it.
        await unless([403, 404, 409], client.purgeDeletedSecret(name))
        return
      }
      if (poll + 1 < polls) await sleep(pollMs)
    }
  }

  return {
    async get(name) {
      const secret = await unless([404], client.getSecret(name)).catch(fail('read a secret'))
      return secret === 404 ? undefined : secret.value
    },
    set: (name, value) => set(name, value).catch(fail('store a secret')),
    delete: (name) => remove(name).catch(fail('delete a secret')),
  }
}

/** The answer, or its HTTP status where that is one of those expected. */
async function unless<T, S extends number>(statuses: S[], answer: Promise<T>, expected = true): Promise<T | S> {
  try {
    return await answer
  } catch (error) {
    const status = httpStatus(error)
    const match = statuses.find((one) => one === status)
    if (!expected || match === undefined) throw error
    return match
  }
}
