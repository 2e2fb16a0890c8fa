import type { Surroundings } from '../context.ts'
import { MigrationError } from '../errors.ts'
import { fallbacksOf, type FallbackRequest } from '../model/fallback.ts'
import { readFallbacks, readMigration } from '../read-migration.ts'
import { appendEvent, updateRecord } from '../store/migrations.ts'

const WORDS: Record<FallbackRequest['action'], string> = {
  switchBack: 'A switch back to the old source was requested',
  end: 'The end of the way back was requested',
}

/**
 * Stores what is asked of the way back; the work sees it within a second. Asking twice is asking once.
 *
 * @throws {MigrationError} MigrationMissing and those of {@link fallbacksOf}
 */
export async function requestFallback(surroundings: Surroundings, key: string, asked: FallbackRequest): Promise<void> {
  const { documents } = surroundings
  const stored = await readMigration(surroundings, key)
  if (!stored) throw new MigrationError('MigrationMissing', `There is no migration ${key}.`)
  const all = readFallbacks(stored)
  const at = new Date().toISOString()
  let names: string[] = []
  // Decided on the record that it is stored in: two requests that contradict each other are not both taken.
  await updateRecord(documents, key, (record) => {
    names = fallbacksOf(record, asked, all)
    const added = Object.fromEntries(names.map((name) => [name, { action: asked.action, at }]))
    return { ...record, requests: { ...record.requests, fallback: { ...record.requests.fallback, ...added } } }
  })
  if (names.length === 0) return
  const message = `${WORDS[asked.action]} of ${names.join(', ')}.`
  await appendEvent(documents, key, { level: 'info', event: 'FallbackRequested', message })
}
