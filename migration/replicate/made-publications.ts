import type { Connection } from '../connect.ts'
import { MigrationError } from '../errors.ts'
import { listPublications, readPublications } from './publication.ts'
import type { SourceObjects } from './slot-name.ts'

/** In pgflex.step; its detail holds the object ids of the publications by name. */
const STEP = 'publications'

/** Writes down which publications were made for the slot; call it in the transaction that records its beginning. */
export async function recordPublications(target: Connection, made: Record<string, string>): Promise<void> {
  // An attempt whose beginning was never recorded may have left another answer.
  await target.query(
    `insert into pgflex.step (name, detail) values ($1, $2)
         on conflict (name) do update set detail = excluded.detail, finished_at = now()`,
    [STEP, JSON.stringify({ publications: made })],
  )
}

/**
 * The publications to subscribe to: all that were made. What one that is gone would have published is not in
 * the stream, and nothing else would say so: PostgreSQL 18 passes over a publication that is missing.
 *
 * @throws {MigrationError} PublicationMissing
 */
export async function requirePublications(
  source: Connection,
  target: Connection,
  names: SourceObjects,
): Promise<string[]> {
  const { rows } = await target.query<{ made: string }>(
    `select detail ->> 'publications' as made from pgflex.step where name = $1`,
    [STEP],
  )
  if (!rows[0]) {
    // A migration that began before they were recorded: this one there has always been.
    const there = await listPublications(source, names)
    if (!there.includes(names.publication)) throw missing(names.publication, 'is no longer there')
    return there
  }
  const made = JSON.parse(rows[0].made) as Record<string, string>
  const there = await readPublications(source, Object.keys(made))
  for (const [name, oid] of Object.entries(made)) {
    if (there[name] === undefined) throw missing(name, 'is no longer there')
    // Between the two the stream has lost changes.
    if (there[name] !== oid) throw missing(name, 'was dropped and made again')
  }
  return Object.keys(made)
}

function missing(publication: string, why: string): MigrationError {
  return new MigrationError(
    'PublicationMissing',
    `The publication ${publication} of the source ${why}; changes of its tables are missing.`,
    {
      hint: 'Making it again does not bring the changes back: cancel, and migrate this database anew. Leave the publications pgflex_… alone until the migration has ended.',
      target: 'source',
    },
  )
}
