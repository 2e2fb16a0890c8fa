import type { IncomingMessage } from 'node:http'

/** Requests are documents of a few kilobytes; this only keeps a mistake from filling the memory. */
export const bodyLimitBytes = 10 * 1024 * 1024

/** The whole body, or undefined when it is larger than the limit; the rest of it is thrown away then. */
export function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer | undefined>()
  const chunks: Buffer[] = []
  let size = Number(request.headers['content-length'] ?? 0)
  if (size > bodyLimitBytes) return Promise.resolve(undefined)

  size = 0
  request.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size <= bodyLimitBytes) chunks.push(chunk)
    else {
      chunks.length = 0
      resolve(undefined)
    }
  })
  request.on('end', () => resolve(Buffer.concat(chunks)))
  request.on('error', reject)
  return promise
}
