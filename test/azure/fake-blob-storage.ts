import { startTlsServer, TOKEN, type Answer, type Request, type TlsServer } from './tls-server.ts'

interface Blob {
  type: string
  content: string
  etag: string
  metadata: Record<string, string>
  blocks: number
}

export interface FakeBlobStorage extends TlsServer {
  /** The only container's blobs; undefined while there is no container. */
  blobs: Map<string, Blob> | undefined
  /** Blocks of an append blob; 50,000 on Azure. */
  blockLimit: number
  /** Requests that are still carried out without an answer. */
  lostAnswers: number
}

/** The handful of Blob Storage's calls that documents need, with its conditions, error codes and pages of two names. */
export async function startFakeBlobStorage(): Promise<FakeBlobStorage> {
  let version = 0
  const server = await startTlsServer((request) => {
    const given =
      request.headers.authorization === `Bearer ${TOKEN}` ? answer(request) : error(403, 'AuthorizationFailure')
    return storage.lostAnswers > 0 && request.method === 'PUT' && storage.lostAnswers-- > 0
      ? { ...given, lost: true }
      : given
  })
  const storage: FakeBlobStorage = Object.assign(server, { blobs: new Map(), blockLimit: 50_000, lostAnswers: 0 })
  const nextEtag = (): string => `"0x${(++version).toString(16).toUpperCase().padStart(15, '0')}"`

  function answer(request: Request): Answer {
    const { method, path, query } = request
    if (query.get('restype') === 'container' && method === 'PUT') {
      if (storage.blobs) return error(409, 'ContainerAlreadyExists')
      storage.blobs = new Map()
      return { status: 201 }
    }
    const { blobs } = storage
    if (!blobs) return error(404, 'ContainerNotFound')
    if (query.get('comp') === 'list') return page(query, [...blobs.keys()])
    const name = path.split('/').slice(2).join('/')
    const blob = blobs.get(name)
    if (method === 'PUT' && query.get('comp') === 'appendblock') return append(blob, request.body)
    if (method === 'PUT') return put(blobs, name, request)
    if (!blob) return error(404, 'BlobNotFound')
    if (method !== 'DELETE') return { status: 200, headers: headersOf(blob), body: blob.content }
    blobs.delete(name)
    return { status: 202 }
  }

  function put(blobs: Map<string, Blob>, name: string, { headers, body }: Request): Answer {
    const blob = blobs.get(name)
    if (headers['if-none-match'] === '*' && blob) return error(409, 'BlobAlreadyExists')
    if (headers['if-match'] !== undefined && headers['if-match'] !== blob?.etag) return error(412, 'ConditionNotMet')
    const metadata = Object.fromEntries(
      Object.entries(headers).flatMap(([key, value]) =>
        key.startsWith('x-ms-meta-') ? [[key.slice('x-ms-meta-'.length), String(value)]] : [],
      ),
    )
    const written = { type: String(headers['x-ms-blob-type']), content: body, etag: nextEtag(), metadata, blocks: 0 }
    blobs.set(name, written)
    return { status: 201, headers: headersOf(written) }
  }

  function append(blob: Blob | undefined, block: string): Answer {
    if (!blob) return error(404, 'BlobNotFound')
    if (blob.type !== 'AppendBlob') return error(409, 'InvalidBlobType')
    if (blob.blocks >= storage.blockLimit) return error(409, 'BlockCountExceedsLimit')
    Object.assign(blob, { content: blob.content + block, etag: nextEtag(), blocks: blob.blocks + 1 })
    return { status: 201, headers: headersOf(blob) }
  }
  return storage
}

function headersOf({ etag, type, metadata }: Blob): Record<string, string> {
  return {
    etag,
    'last-modified': 'Mon, 01 Jan 2024 00:00:00 GMT',
    'x-ms-blob-type': type,
    ...Object.fromEntries(Object.entries(metadata).map(([key, value]) => [`x-ms-meta-${key}`, value])),
  }
}

/** Two names at a time, so that a client that reads one page only is found out. */
function page(query: URLSearchParams, names: string[]): Answer {
  const prefix = query.get('prefix') ?? ''
  const marker = query.get('marker') ?? ''
  const rest = names.filter((name) => name.startsWith(prefix) && name >= marker).sort()
  const entries = rest
    .slice(0, 2)
    .map((name) => `<Blob><Name>${name}</Name><Properties><Etag>x</Etag></Properties></Blob>`)
  return {
    status: 200,
    headers: { 'content-type': 'application/xml' },
    body: `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://localhost/" ContainerName="pgflex"><Prefix>${prefix}</Prefix><Blobs>${entries.join('')}</Blobs><NextMarker>${rest[2] ?? ''}</NextMarker></EnumerationResults>`,
  }
}

function error(status: number, code: string): Answer {
  return {
    status,
    headers: { 'x-ms-error-code': code, 'content-type': 'application/xml' },
    body: `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>${code} it is.\nRequestId:1</Message></Error>`,
  }
}
