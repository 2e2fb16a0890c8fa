import { createHash } from 'node:crypto'

/** Names of what a database of a migration has on its source. */
export interface SourceObjects {
  slot: string
  /** Of the tables whose every change is published. */
  publication: string
  /** Of the tables without a usable replica identity: insert and truncate only. */
  insertsPublication: string
}

/** Bytes: NAMEDATALEN - 1 is 63, less the prefix, the hash and the longest suffix. */
const READABLE_LENGTH = 30

/**
 * The names of slot and publications: the same for each call, and different for each migration and database,
 * since slots are shared by all databases of a server. Slot names are made of `[a-z0-9_]`.
 */
export function sourceObjects(migrationKey: string, database: string): SourceObjects {
  const readable = database
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .slice(0, READABLE_LENGTH)
  const hash = createHash('sha256').update(`${migrationKey}\0${database}`).digest('hex').slice(0, 12)
  const slot = `pgflex_${readable}_${hash}`
  return { slot, publication: slot, insertsPublication: `${slot}_inserts` }
}
