/**
 * Where migrations are remembered: small JSON documents and append-only lines, in a folder of the local
 * home or in a blob container on Azure. A command from the user is stored here before it is answered, and
 * what remains of a migration after its control schemas are gone is here too. No secrets, no row data.
 *
 * Keys are `/`-separated and made of `[A-Za-z0-9._-]` (database names are encoded by {@link keyPart}).
 */
export interface DocumentStore {
  /** The document and its etag, or undefined when there is none. */
  read<T>(key: string): Promise<StoredDocument<T> | undefined>
  /**
   * Writes a document whole and durably.
   *
   * @param etag undefined: whatever is there; null: only when there is none; else: only when it is unchanged
   * @returns false when the condition did not hold, and nothing was written
   */
  write(key: string, value: unknown, etag?: string | null): Promise<boolean>
  /** The keys that begin with a prefix, in order. */
  list(prefix: string): Promise<string[]>
  delete(key: string): Promise<void>
  /** Appends one line of JSON; lines of concurrent writers do not mix. */
  append(key: string, line: unknown): Promise<void>
  /** All appended lines in order; none when there is no such key. */
  readLines<T>(key: string): Promise<T[]>
}

export interface StoredDocument<T> {
  value: T
  etag: string
}

/** Makes one part of a key of any text: what is outside `[A-Za-z0-9-]` becomes `_` and the UTF-16 code in hex. */
export function keyPart(text: string): string {
  return text.replace(/[^A-Za-z0-9-]/g, (c) => `_${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Tries of {@link update} before it gives up: writers of one document are few and quick. */
const UPDATE_TRIES = 20

/**
 * Reads, changes and writes a document until nobody else has changed it in between.
 *
 * @param change returns the new value, or undefined to leave the document as it is
 * @returns the value that is stored in the end
 * @throws {Error} when the document keeps changing
 */
export async function update<T>(
  documents: DocumentStore,
  key: string,
  change: (current: T | undefined) => T | undefined,
): Promise<T | undefined> {
  for (let attempt = 0; attempt < UPDATE_TRIES; attempt++) {
    const stored = await documents.read<T>(key)
    const next = change(stored?.value)
    if (next === undefined) return stored?.value
    if (await documents.write(key, next, stored?.etag ?? null)) return next
  }
  throw new Error(`The document ${key} keeps changing; try again.`)
}
