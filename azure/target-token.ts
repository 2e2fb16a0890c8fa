import type { AccessToken, TokenCredential } from '@azure/identity'
import { azureError } from './azure-error.ts'

/** https://learn.microsoft.com/azure/postgresql/security/security-entra-configure */
const SCOPE = 'https://ossrdbms-aad.database.windows.net/.default'

/** A connection that is opened just before the expiry must still find the token valid when it arrives. */
const RENEW_BEFORE_MS = 5 * 60_000

/**
 * Entra tokens for the target, in place of a password. A token opens connections until it expires; open
 * connections outlive it. One token serves all callers until five minutes before its expiry.
 *
 * @param now the clock, ms
 * @returns a function that gives a token; it throws {@link MigrationError} AzureSignIn when there is no identity
 */
export function targetToken(credential: TokenCredential, now: () => number = Date.now): () => Promise<string> {
  let current: AccessToken | undefined
  let asking: Promise<AccessToken> | undefined

  async function ask(): Promise<AccessToken> {
    try {
      const token = await credential.getToken(SCOPE)
      if (!token) throw new Error('The credential gave no token.')
      current = token
      return token
    } catch (error) {
      throw azureError(error, {
        what: 'get an Entra token for the target',
        role: 'Microsoft Entra administrator of the server',
        scope: SCOPE,
      })
    } finally {
      asking = undefined
    }
  }

  return async () => {
    if (current && current.expiresOnTimestamp - now() > RENEW_BEFORE_MS) return current.token
    asking ??= ask()
    return (await asking).token
  }
}
