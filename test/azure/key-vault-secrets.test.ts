import { inspect } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { keyVaultSecrets } from '../../azure/key-vault-secrets.ts'
import { passwordName } from '../../migration/store/secrets.ts'
import { startFakeKeyVault } from './fake-key-vault.ts'
import { ca, testCredential } from './tls-server.ts'

const NAME = passwordName('orders-to-azure', 'source')

async function open() {
  const vault = await startFakeKeyVault()
  onTestFinished(() => vault[Symbol.asyncDispose]())
  const credential = testCredential()
  const secrets = keyVaultSecrets(vault.url, credential, {
    pollMs: 1,
    tlsOptions: { ca },
    // The challenge names vault.azure.net, which this machine is not.
    disableChallengeResourceVerification: true,
  })
  return { vault, secrets, credential }
}

test('a password that was stored is read back, through the token of the challenge', async () => {
  const { secrets, credential } = await open()
  await secrets.set(NAME, 'first')
  await secrets.set(NAME, 'päss "word"')
  expect(await secrets.get(NAME)).toBe('päss "word"')
  expect(credential.scopes).toContain('https://vault.azure.net/.default')
})

test('a secret that was never stored is undefined, and deleting it is no error', async () => {
  const { secrets } = await open()
  expect(await secrets.get(NAME)).toBeUndefined()
  await secrets.delete(NAME)
})

test('deleting purges, so that nothing of the password stays in the vault', async () => {
  const { vault, secrets } = await open()
  await secrets.set(NAME, 'gone')
  await secrets.delete(NAME)
  expect(await secrets.get(NAME)).toBeUndefined()
  expect(vault.requests.at(-2)).toMatch(/^DELETE \/deletedsecrets\//)
})

test('a deletion that died before its purge is ended by the next one', async () => {
  const { vault, secrets } = await open()
  vault.secrets.set(NAME, { value: 'left over', state: 'deleted', under: 0 })
  await secrets.delete(NAME)
  await expect.poll(async () => [await secrets.get(NAME), vault.secrets.size]).toEqual([undefined, 0])
})

test('a vault with purge protection keeps the deleted secret, and that is no error', async () => {
  const { vault, secrets } = await open()
  vault.recoveryLevel = 'Recoverable'
  await secrets.set(NAME, 'kept')
  await secrets.delete(NAME)
  expect(vault.secrets.get(NAME)?.state).toBe('deleted')
  expect(vault.requests.filter((request) => request.startsWith('DELETE /deletedsecrets'))).toEqual([])
})

test.for(['deleting', 'deleted', 'recovering', 'purging'] as const)(
  'a name that is %s takes a new value in the end',
  async (state) => {
    const { vault, secrets } = await open()
    vault.secrets.set(NAME, { value: 'old', state, under: 3 })
    await secrets.set(NAME, 'new')
    expect(await secrets.get(NAME)).toBe('new')
    expect(vault.secrets.get(NAME)).toMatchObject({ value: 'new', state: 'live' })
  },
)

test('a missing role is named, and the error carries no secret', async () => {
  const { vault, secrets } = await open()
  vault.allowed = false
  const error = await secrets.set(NAME, 's3cr3t-value').catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'AzureForbidden', retryable: false })
  expect(error).toHaveProperty('hint', expect.stringContaining('"Key Vault Secrets Officer"'))
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('s3cr3t-value')
  expect((error as Error).message).not.toContain('\n')
})

test('a vault that does not answer is a retryable error', async () => {
  const { vault } = await open()
  const gone = keyVaultSecrets(vault.url, testCredential(), { tlsOptions: { ca }, retryOptions: { maxRetries: 0 } })
  await vault[Symbol.asyncDispose]()
  await expect(gone.get(NAME)).rejects.toMatchObject({ code: 'AzureUnreachable', retryable: true })
})
