import type { Client } from 'pg'
import { AbstractPlugin } from 'pg-logical-replication/dist/output-plugins/abstract.plugin.js'
import { id, literal } from '../sql.ts'
import type { PgoutputMessage } from './pgoutput-message.ts'
import { PgoutputDecoder } from './pgoutput.ts'

export interface PgoutputOptions {
  publications: string[]
  /** The source's server_encoding is SQL_ASCII: its text may be no UTF-8. */
  checkUtf8?: boolean
}

/** A message, or why it could not be decoded: the library calls inside a socket event, where nothing may throw. */
export type Decoded = PgoutputMessage | { kind: 'malformed'; error: unknown }

/**
 * pgoutput with raw text values. Protocol version 1: a transaction arrives whole, after its commit, in the
 * order of commits, whatever its size (the source keeps the rest on its disk).
 */
export class PgoutputPlugin extends AbstractPlugin<PgoutputOptions> {
  readonly #decoder: PgoutputDecoder
  /** The library's connection, for what the library does not offer: pausing its socket, ending the copy. */
  client: Client | undefined

  constructor(options: PgoutputOptions) {
    super(options)
    this.#decoder = new PgoutputDecoder(options)
  }

  get name(): string {
    return 'pgoutput'
  }

  start(client: Client, slot: string, startLsn: string): Promise<unknown> {
    this.client = client
    const publications = this.options.publications.map((publication) => id(publication)).join(',')
    // The keywords of replication commands are upper case only.
    return client.query(
      `START_REPLICATION SLOT ${id(slot)} LOGICAL ${startLsn} (proto_version '1', publication_names ${literal(publications)})`,
    )
  }

  parse(bytes: Buffer): Decoded {
    try {
      return this.#decoder.decode(bytes)
    } catch (error) {
      return { kind: 'malformed', error }
    }
  }
}
