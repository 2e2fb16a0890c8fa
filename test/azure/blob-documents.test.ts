import type { StoragePipelineOptions } from '@azure/storage-blob'
import { expect, onTestFinished, test } from 'vitest'
import { blobDocuments, documentsContainer } from '../../azure/blob-documents.ts'
import { keyPart, update } from '../../migration/store/documents.ts'
import { startFakeBlobStorage } from './fake-blob-storage.ts'
import { ca, testCredential } from './tls-server.ts'

async function open() {
  const storage = await startFakeBlobStorage()
  onTestFinished(() => storage[Symbol.asyncDispose]())
  // tlsOptions reach the HTTP client of the SDK, though its types do not say so.
  const options: StoragePipelineOptions & { tlsOptions: { ca: string } } = {
    tlsOptions: { ca },
    retryOptions: { maxTries: 3, retryDelayInMs: 1, maxRetryDelayInMs: 2 },
  }
  const credential = testCredential()
  /** Another instance of the function app on the same container. */
  const instance = () => blobDocuments(documentsContainer(`${storage.url}/pgflex`, credential, options))
  return { storage, documents: instance(), instance, credential }
}

test('a document is read back with its etag, by identity', async () => {
  const { documents, credential } = await open()
  expect(await documents.read('migrations/a/record')).toBeUndefined()
  expect(await documents.write('migrations/a/record', { name: 'é', list: [1] })).toBe(true)
  expect(await documents.read('migrations/a/record')).toEqual({
    value: { name: 'é', list: [1] },
    etag: expect.stringContaining('0x'),
  })
  expect(new Set(credential.scopes)).toEqual(new Set(['https://storage.azure.com/.default']))
})

test('the conditions of a write hold', async () => {
  const { documents } = await open()
  expect(await documents.write('a', 1, '"0x0"'), 'etag of nothing').toBe(false)
  expect(await documents.write('a', 1, null), 'new').toBe(true)
  expect(await documents.write('a', 2, null), 'new again').toBe(false)
  const { etag } = (await documents.read('a'))!
  expect(await documents.write('a', 3, etag), 'unchanged').toBe(true)
  expect(await documents.write('a', 4, etag), 'changed').toBe(false)
  expect((await documents.read('a'))?.value).toBe(3)
})

test('changes of several instances at the same time are all kept', async () => {
  const { documents, instance } = await open()
  const increment = (): Promise<unknown> => update<number>(instance(), 'count', (count) => (count ?? 0) + 1)
  await Promise.all(Array.from({ length: 8 }, increment))
  expect((await documents.read('count'))?.value).toBe(8)
})

test.for([null, 'etag'])(
  'a conditional write whose answer is lost still says that it has written (%s)',
  async (etag) => {
    const { storage, documents } = await open()
    if (etag !== null) await documents.write('a', 'before')
    const condition = etag === null ? null : (await documents.read('a'))!.etag
    storage.lostAnswers = 1
    expect(await documents.write('a', 'after', condition)).toBe(true)
    expect(storage.requests.filter((request) => request.startsWith('PUT')).length).toBeGreaterThan(1)
    expect((await documents.read('a'))?.value).toBe('after')
  },
)

test('documents are listed by prefix over all pages, in order and without lines', async () => {
  const { documents } = await open()
  const keys = ['m/a/databases/x', 'm/a/record', 'm/b/record', 'm/c/record', `m/a/databases/${keyPart('Ö.1')}`]
  await Promise.all(keys.map((key) => documents.write(key, {})))
  await documents.append('m/a/events', {})
  expect(await documents.list('m/')).toEqual(keys.toSorted())
  expect(await documents.list('m/a/d')).toEqual(keys.filter((key) => key.startsWith('m/a/d')).toSorted())
  expect(await documents.list('n')).toEqual([])
})

test('lines of instances that begin at the same time are all there, each once', async () => {
  const { documents, instance } = await open()
  const writers = Array.from({ length: 6 }, (_, writer) => ({ writer, store: instance() }))
  await Promise.all(
    writers.map(async ({ writer, store }) => {
      for (const line of [0, 1, 2]) await store.append('events', { writer, line })
    }),
  )
  const lines = await documents.readLines<{ writer: number; line: number }>('events')
  expect(lines).toHaveLength(18)
  for (const { writer } of writers) {
    expect(lines.filter((line) => line.writer === writer).map(({ line }) => line)).toEqual([0, 1, 2])
  }
})

test('a full append blob rolls over, in order, also for an instance that starts later', async () => {
  const { storage, documents, instance } = await open()
  storage.blockLimit = 3
  for (let line = 0; line < 35; line++) await documents.append('events', line)
  await instance().append('events', 35)
  expect(storage.blobs!.has('events.jsonl') && storage.blobs!.has('events.11.jsonl')).toBe(true)
  expect(await documents.readLines('events')).toEqual(Array.from({ length: 36 }, (_, line) => line))
})

test('lines of another key with the same beginning are not taken for parts', async () => {
  const { documents } = await open()
  await documents.append('events', 1)
  await documents.append('events.old', 2)
  await documents.append('eventsmore', 3)
  expect(await documents.readLines('events')).toEqual([1])
  expect(await documents.readLines('nothing')).toEqual([])
})

test('deleting takes the document and all its lines, and can be done again', async () => {
  const { storage, documents } = await open()
  storage.blockLimit = 1
  await documents.write('a', 1)
  for (const line of [1, 2, 3]) await documents.append('a', line)
  await documents.write('ab', 1)
  await documents.delete('a')
  await documents.delete('a')
  expect([...storage.blobs!.keys()]).toEqual(['ab.json'])
  await documents.append('a', 4)
  expect(await documents.readLines('a')).toEqual([4])
})

test('a missing container reads as empty and is made by the first write', async () => {
  const { storage, documents } = await open()
  storage.blobs = undefined
  expect([await documents.read('a'), await documents.list(''), await documents.readLines('l')]).toEqual([
    undefined,
    [],
    [],
  ])
  await documents.delete('a')
  expect(storage.blobs).toBeUndefined()
  await documents.append('l', 1)
  expect(await documents.write('a', 1, null)).toBe(true)
  expect([...storage.blobs!.keys()]).toEqual(['l.jsonl', 'a.json'])
})

test('a missing role is named', async () => {
  const { storage } = await open()
  const nobody = { getToken: async () => ({ token: 'nobody', expiresOnTimestamp: Date.now() + 3_600_000 }) }
  const options: StoragePipelineOptions & { tlsOptions: { ca: string } } = { tlsOptions: { ca } }
  const documents = blobDocuments(documentsContainer(`${storage.url}/pgflex`, nobody, options))
  await expect(documents.write('a', 1)).rejects.toMatchObject({
    code: 'AzureForbidden',
    hint: expect.stringContaining('Storage Blob Data Contributor'),
  })
})

test('a connection string opens the container named pgflex: Azurite on this machine', () => {
  const container = documentsContainer('UseDevelopmentStorage=true', testCredential())
  expect(container.url).toBe('http://127.0.0.1:10000/devstoreaccount1/pgflex')
})
