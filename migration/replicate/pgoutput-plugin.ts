import type { Client } from 'pg'
import { AbstractPlugin } from 'pg-logical-replication/dist/output-plugins/abstract.plugin.js'
import { id, literal } from '../sql.ts'
import type { PgoutputMessage } from './pgoutput-message.ts'
import { PgoutputDecoder } from './pgoutput.ts'

export interface PgoutputOptions {
  publications: string[]
  /** Values in their binary form: PostgreSQL 14 and later. */
  binary?: boolean
  /** Called with the library's connection just before replication begins. */
  onClient?: (client: Client) => void
}

/**
 * pgoutput with raw values. Protocol version 1: a transaction arrives whole, after its commit, in the
 * order of commits, whatever its size (the source keeps the rest on its disk).
 */
export class PgoutputPlugin extends AbstractPlugin<PgoutputOptions> {
  readonly #decoder: PgoutputDecoder

  constructor(options: PgoutputOptions) {
    super(options)
    this.#decoder = new PgoutputDecoder(options)
  }

  get name(): string {
    return 'pgoutput'
  }

  start(client: Client, slot: string, startLsn: string): Promise<unknown> {
    this.options.onClient?.(client)
    const publications = this.options.publications.map((publication) => id(publication)).join(',')
    // The keywords of replication commands are upper case only.
    return client.query(
      `START_REPLICATION SLOT ${id(slot)} LOGICAL ${startLsn} (proto_version '1', publication_names ${literal(publications)}${this.options.binary === true ? ", binary 'true'" : ''})`,
    )
  }

  /** The library's buffer is used again for the next message, and rows stay views of it: copy what is kept. */
  parse(bytes: Buffer): PgoutputMessage {
    return this.#decoder.decode(bytes)
  }
}
