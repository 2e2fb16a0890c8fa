import { randomUUID } from 'node:crypto'
import { text } from 'node:stream/consumers'
import type { TokenCredential } from '@azure/identity'
import { ContainerClient, type BlobUploadCommonResponse, type StoragePipelineOptions } from '@azure/storage-blob'
import type { DocumentStore, StoredDocument } from '../migration/store/documents.ts'
import { azureError, httpStatus, serviceCode } from './azure-error.ts'
import { blobLines } from './blob-lines.ts'

/** The container's name where the setting is a connection string, which names none. */
const CONTAINER = 'pgflex'

/**
 * The container of the documents.
 *
 * @param location the container's URL (`https://<account>.blob.core.windows.net/pgflex`), opened by identity;
 *   or a connection string for development: `UseDevelopmentStorage=true` is Azurite
 */
export function documentsContainer(
  location: string,
  credential: TokenCredential,
  options?: StoragePipelineOptions,
): ContainerClient {
  return /^https?:\/\//i.test(location)
    ? new ContainerClient(location, credential, options)
    : new ContainerClient(location, CONTAINER, options)
}

/**
 * Documents as block blobs (`<key>.json`) and lines as append blobs (`<key>.jsonl`) of one container, which
 * is made when it is missing. Any number of instances may use it at the same time: conditions are checked by
 * the storage service. A line can be there twice when the answer to its append was lost on the way.
 *
 * @returns a store whose calls throw {@link MigrationError} AzureForbidden, AzureUnreachable, AzureSignIn
 */
export function blobDocuments(container: ContainerClient): DocumentStore {
  const lines = blobLines(container)
  const document = (key: string) => container.getBlockBlobClient(`${key}.json`)

  function fail(what: string): (error: unknown) => never {
    return (error) => {
      throw azureError(error, { what, role: 'Storage Blob Data Contributor', scope: container.url })
    }
  }

  /** Runs a write, once more when the container was missing. */
  async function inContainer<T>(write: () => Promise<T>): Promise<T> {
    try {
      return await write()
    } catch (error) {
      if (serviceCode(error) !== 'ContainerNotFound') throw error
      await container.createIfNotExists()
      return write()
    }
  }

  /** What a read gives, or something else when the container was never made. */
  async function whenThere<T>(result: Promise<T>, otherwise: T): Promise<T> {
    try {
      return await result
    } catch (error) {
      if (serviceCode(error) !== 'ContainerNotFound') throw error
      return otherwise
    }
  }

  async function read<T>(key: string): Promise<StoredDocument<T> | undefined> {
    try {
      const answer = await document(key).download()
      return { value: JSON.parse(await text(answer.readableStreamBody!)) as T, etag: answer.etag! }
    } catch (error) {
      if (httpStatus(error) === 404) return undefined
      throw error
    }
  }

  async function write(key: string, value: unknown, etag?: string | null): Promise<boolean> {
    const body = JSON.stringify(value)
    const writer = randomUUID()
    const upload = (): Promise<BlobUploadCommonResponse> =>
      document(key).upload(body, Buffer.byteLength(body), {
        blobHTTPHeaders: { blobContentType: 'application/json' },
        metadata: { writer },
        conditions: etag === undefined ? {} : etag === null ? { ifNoneMatch: '*' } : { ifMatch: etag },
      })
    try {
      await inContainer(upload)
      return true
    } catch (error) {
      const status = httpStatus(error)
      if (etag === undefined || (status !== 409 && status !== 412 && serviceCode(error) !== 'BlobNotFound')) throw error
      // The SDK repeats a request whose answer was lost, and the repeated one finds the etag of the first.
      return (await lastWriter(key)) === writer
    }
  }

  async function lastWriter(key: string): Promise<string | undefined> {
    try {
      return (await document(key).getProperties()).metadata?.writer
    } catch (error) {
      if (httpStatus(error) === 404) return undefined
      throw error
    }
  }

  async function list(prefix: string): Promise<string[]> {
    const keys: string[] = []
    for await (const { name } of container.listBlobsFlat({ prefix })) {
      if (name.endsWith('.json')) keys.push(name.slice(0, -'.json'.length))
    }
    return keys.sort()
  }

  async function remove(key: string): Promise<void> {
    await document(key).deleteIfExists()
    await lines.delete(key)
  }

  return {
    read: <T>(key: string) => read<T>(key).catch(fail(`read the document ${key}`)),
    write: (key, value, etag) => write(key, value, etag).catch(fail(`write the document ${key}`)),
    list: (prefix) => whenThere(list(prefix), []).catch(fail(`list the documents under ${prefix}`)),
    delete: (key) => whenThere(remove(key), undefined).catch(fail(`delete the document ${key}`)),
    append: (key, line) => inContainer(() => lines.append(key, line)).catch(fail(`append to ${key}`)),
    readLines: <T>(key: string) => whenThere(lines.read<T>(key), []).catch(fail(`read the lines of ${key}`)),
  }
}
