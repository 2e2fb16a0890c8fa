import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import type { DocumentStore, StoredDocument } from './documents.ts'

/**
 * Documents as files of one folder, for the local host. One host at a time uses a home, so conditional
 * writes need to be safe within this process only: each key has a queue.
 */
export function fileDocuments(folder: string): DocumentStore {
  const queues = new Map<string, Promise<unknown>>()

  /** Runs the work of one key in order. */
  function inOrder<T>(key: string, work: () => Promise<T>): Promise<T> {
    const result = (queues.get(key) ?? Promise.resolve()).then(work, work)
    const settled = result.catch(() => {})
    queues.set(key, settled)
    void settled.then(() => queues.get(key) === settled && queues.delete(key))
    return result
  }

  const documentFile = (key: string): string => join(folder, `${key}.json`)
  const linesFile = (key: string): string => join(folder, `${key}.jsonl`)

  async function read<T>(key: string): Promise<StoredDocument<T> | undefined> {
    const text = await readIfExists(documentFile(key))
    return text === undefined ? undefined : { value: JSON.parse(text) as T, etag: etagOf(text) }
  }

  return {
    read,
    write: (key, value, etag) =>
      inOrder(key, async () => {
        if (etag !== undefined && ((await read(key))?.etag ?? null) !== etag) return false
        await writeDurably(documentFile(key), JSON.stringify(value))
        return true
      }),
    async list(prefix) {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(ignoreMissing([]))
      return entries
        .filter((entry) => entry.isFile() && entry.name.endsWith('.json'))
        .map((entry) =>
          relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/').slice(0, -'.json'.length),
        )
        .filter((key) => key.startsWith(prefix))
        .sort()
    },
    delete: (key) =>
      inOrder(key, async () => {
        await rm(documentFile(key), { force: true })
        await rm(linesFile(key), { force: true })
      }),
    append: (key, line) =>
      inOrder(key, async () => {
        await mkdir(dirname(linesFile(key)), { recursive: true, mode: 0o700 })
        await using file = await open(
          linesFile(key),
          constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND,
          0o600,
        )
        await file.write(`${JSON.stringify(line)}\n`)
      }),
    async readLines<T>(key: string) {
      const text = (await readIfExists(linesFile(key))) ?? ''
      // A host that was killed while it appended leaves half a line at the end.
      return text.split('\n').flatMap((line) => parseLine<T>(line))
    },
  }
}

function parseLine<T>(line: string): T[] {
  try {
    return line === '' ? [] : [JSON.parse(line) as T]
  } catch {
    return []
  }
}

function etagOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

/** Either the old file or the new one is there after a crash, never half of it. */
async function writeDurably(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  {
    await using file = await open(temporary, 'wx', 0o600)
    await file.writeFile(text)
    await file.sync()
  }
  await rename(temporary, path)
}

function readIfExists(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(ignoreMissing(undefined))
}

function ignoreMissing<T>(otherwise: T): (error: unknown) => T {
  return (error) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return otherwise
    throw error
  }
}
