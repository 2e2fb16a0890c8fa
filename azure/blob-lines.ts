import { text } from 'node:stream/consumers'
import type { ContainerClient } from '@azure/storage-blob'
import { serviceCode } from './azure-error.ts'

const blobContentType = 'application/jsonl'

/** Append-only lines of JSON in append blobs. */
export interface BlobLines {
  append(key: string, line: unknown): Promise<void>
  read<T>(key: string): Promise<T[]>
  delete(key: string): Promise<void>
}

/**
 * Lines in `<key>.jsonl`, then in `<key>.1.jsonl`, `<key>.2.jsonl` …: an append blob takes 50,000 blocks, and
 * each line is one. https://learn.microsoft.com/rest/api/storageservices/append-block
 *
 * One block is written whole or not at all, so lines of concurrent writers do not mix.
 */
export function blobLines(container: ContainerClient): BlobLines {
  /** The part that took the last line of a key, as far as this process knows. */
  const currentPart = new Map<string, number>()

  const partName = (key: string, part: number): string => (part === 0 ? `${key}.jsonl` : `${key}.${part}.jsonl`)

  /** The names of the parts that are there, oldest first. */
  async function partsOf(key: string): Promise<string[]> {
    const parts: { name: string; part: number }[] = []
    for await (const { name } of container.listBlobsFlat({ prefix: `${key}.` })) {
      const match = /^\.(?:(\d+)\.)?jsonl$/.exec(name.slice(key.length))
      if (match) parts.push({ name, part: Number(match[1] ?? 0) })
    }
    return parts.sort((a, b) => a.part - b.part).map(({ name }) => name)
  }

  return {
    async append(key, line) {
      const block = `${JSON.stringify(line)}\n`
      for (let part = currentPart.get(key) ?? 0; ;) {
        const blob = container.getAppendBlobClient(partName(key, part))
        try {
          await blob.appendBlock(block, Buffer.byteLength(block))
          currentPart.set(key, part)
          return
        } catch (error) {
          const code = serviceCode(error)
          if (code === 'BlockCountExceedsLimit') part++
          // Not a plain create: it would empty the blob that another instance has just made and written to.
          else if (code === 'BlobNotFound') await blob.createIfNotExists({ blobHTTPHeaders: { blobContentType } })
          else throw error
        }
      }
    },

    async read<T>(key: string) {
      const lines: T[] = []
      for (const name of await partsOf(key)) {
        const answer = await container.getAppendBlobClient(name).download()
        const written = await text(answer.readableStreamBody!)
        lines.push(...written.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as T])))
      }
      return lines
    },

    async delete(key) {
      // The last part first: whatever is left when we die in between is still read and deleted in full later.
      for (const name of (await partsOf(key)).toReversed()) await container.getAppendBlobClient(name).deleteIfExists()
      currentPart.delete(key)
    },
  }
}
