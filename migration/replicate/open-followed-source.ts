import type { Connection } from '../connect.ts'
import type { DatabaseContext } from '../context.ts'
import { MigrationError } from '../errors.ts'
import { publishesBinary } from './binary-values.ts'
import type { FollowedSource } from './followed-source.ts'
import { requirePublications } from './made-publications.ts'
import type { Progress } from './progress.ts'
import { readSlot } from './replication-slot.ts'
import { openReplicationStream, type ReplicationStream } from './replication-stream.ts'
import { sourceVersion } from './schema-change/source-definition.ts'
import type { SourceObjects } from './slot-name.ts'
import { slotTrouble } from './slot-trouble.ts'
import { admitSource } from './source-admission.ts'

export interface FollowedSourceOptions {
  /** Connections that are free to use, one to each side. */
  source: Connection
  catalog: Connection
  names: SourceObjects
  progress: Progress
  /** Binary values do not serve. */
  asText: boolean
}

/**
 * Opens the stream from where the target is, when it is the slot of the very server that has been followed so far.
 *
 * @throws {MigrationError} as admitSource() and openReplicationStream(); PublicationMissing
 */
export async function openFollowedSource(
  context: DatabaseContext,
  options: FollowedSourceOptions,
): Promise<{ stream: ReplicationStream; followed: FollowedSource; binary: boolean }> {
  const { source, catalog, names, progress, asText } = options
  const publications = await publicationsOf(context, options)
  // An older server may take the binary form of a value that it does not know for another one, such as the infinity
  // that intervals have since 17; text it refuses. Only a way back has an older target.
  const newer = (await sourceVersion(catalog)) >= (await sourceVersion(source))
  const binary = !asText && newer && (await publishesBinary(source, publications))
  let followed: FollowedSource
  const stream = await openReplicationStream(context, {
    slot: names.slot,
    publications,
    binary,
    startLsn: progress.appliedLsn,
    source,
    admit: async (walsender) => {
      followed = await admitSource(walsender, catalog, names.slot)
    },
  })
  try {
    // From here on nobody can drop it and make it anew.
    const state = await readSlot(source, names.slot)
    const trouble = slotTrouble({ slot: names.slot, state, acknowledged: followed!.acknowledgedLsn })
    if (trouble) throw trouble
    return { stream, followed: followed!, binary }
  } catch (error) {
    await stream[Symbol.asyncDispose]()
    throw error
  }
}

/** Another server under the source's address has no publications of ours either, and that can be mended. */
async function publicationsOf(
  context: DatabaseContext,
  { source, catalog, names }: FollowedSourceOptions,
): Promise<string[]> {
  try {
    return await requirePublications(source, catalog, names)
  } catch (error) {
    if (error instanceof MigrationError && error.code === 'PublicationMissing') {
      await using walsender = await context.replication('follow')
      await admitSource(walsender, catalog, names.slot)
    }
    throw error
  }
}
