import { join } from 'node:path'
import { app } from '@azure/functions'
import type { TokenCredential } from '@azure/identity'
import type { Surroundings } from '../migration/context.ts'
import { MigrationError } from '../migration/errors.ts'
import { silentLogger, type Logger } from '../migration/log.ts'
import type { ConfigurationWriter } from '../migration/server/configuration-writer.ts'
import type { DocumentStore } from '../migration/store/documents.ts'
import { fileDocuments } from '../migration/store/file-documents.ts'
import { fileSecrets } from '../migration/store/file-secrets.ts'
import type { SecretStore } from '../migration/store/secrets.ts'

/**
 * The one file of the functions that reads environment and secrets.
 *
 * | setting | meaning |
 * |---|---|
 * | PGFLEX_HOME | folder of the local host: documents and secrets are files there |
 * | PGFLEX_DOCUMENTS_URL | URL of the blob container for documents, by identity |
 * | PGFLEX_KEY_VAULT_URL | URL of the Key Vault for secrets, by identity |
 * | PGFLEX_TARGET_SERVER_ID | Azure Resource Manager id of the flexible server, for its configurations |
 * | PGFLEX_TARGET_AUTH | `entra`: reach the target with a token of the app's identity when there is no password |
 * | PGFLEX_CA_FILE | PEM file of the certificate authorities to trust for PostgreSQL servers |
 * | PGFLEX_SLICE_SECONDS | length of a replication slice, 5 to 60; default 30 |
 */
const environment = process.env

const drain = new AbortController()
// The Node worker gives activities no other sign that the host is about to stop.
app.hook.appTerminate(() => drain.abort(new Error('The host is stopping.')))

/** s; long enough to make a slice's start cheap, far below the shortest function time-out. */
const DEFAULT_SLICE_SECONDS = 30

let stores: Promise<Omit<Surroundings, 'log'>> | undefined

/** What the engine needs from here; the stores are opened once. */
export async function surroundings(log: Logger = silentLogger): Promise<Surroundings> {
  stores ??= openStores()
  return { ...(await stores), log }
}

async function openStores(): Promise<Omit<Surroundings, 'log'>> {
  const common = {
    draining: drain.signal,
    sliceMs: sliceSeconds() * 1000,
    ...(environment['PGFLEX_CA_FILE'] ? { caFile: environment['PGFLEX_CA_FILE'] } : {}),
  }
  const [documents, secrets] = await Promise.all([openDocuments(), openSecrets()])
  return { ...common, documents, secrets, ...(await openTargetToken()) }
}

// The Azure SDKs are loaded only where they are used: the local host starts without them.

async function openDocuments(): Promise<DocumentStore> {
  const location = environment['PGFLEX_DOCUMENTS_URL']
  if (!location) return fileDocuments(join(home(), 'documents'))
  const { blobDocuments, documentsContainer } = await import('../azure/blob-documents.ts')
  return blobDocuments(documentsContainer(location, await credential()))
}

async function openSecrets(): Promise<SecretStore> {
  const vaultUrl = environment['PGFLEX_KEY_VAULT_URL']
  if (vaultUrl) {
    const { keyVaultSecrets } = await import('../azure/key-vault-secrets.ts')
    return keyVaultSecrets(vaultUrl, await credential())
  }
  // The instances of an app on Azure share no disk: passwords in a file would be lost with the instance.
  if (environment['WEBSITE_INSTANCE_ID']) {
    throw new MigrationError(
      'NoKeyVault',
      'The function app has no place for passwords: its setting PGFLEX_KEY_VAULT_URL is missing.',
      {
        hint: 'Deploy infra/main.bicep, or set PGFLEX_KEY_VAULT_URL and PGFLEX_DOCUMENTS_URL.',
      },
    )
  }
  return fileSecrets(join(home(), 'secrets'))
}

async function openTargetToken(): Promise<Pick<Surroundings, 'targetToken'>> {
  if (environment['PGFLEX_TARGET_AUTH'] !== 'entra') return {}
  const { targetToken } = await import('../azure/target-token.ts')
  return { targetToken: targetToken(await credential()) }
}

function home(): string {
  return environment['PGFLEX_HOME'] ?? join(process.cwd(), '.pgflex')
}

/** The target's configurations through Azure Resource Manager, where the target is a flexible server that we know. */
export async function configurationWriter(): Promise<ConfigurationWriter | undefined> {
  const serverId = environment['PGFLEX_TARGET_SERVER_ID']
  if (!serverId) return undefined
  const { serverConfigurations } = await import('../azure/server-configurations.ts')
  return serverConfigurations(serverId, await credential())
}

async function credential(): Promise<TokenCredential> {
  const { azureCredential } = await import('../azure/credential.ts')
  return azureCredential()
}

function sliceSeconds(): number {
  const seconds = Number(environment['PGFLEX_SLICE_SECONDS'] ?? DEFAULT_SLICE_SECONDS)
  return seconds >= 5 && seconds <= 60 ? seconds : DEFAULT_SLICE_SECONDS
}
