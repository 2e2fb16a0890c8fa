import type { Client, ClientConfig } from 'pg'
import { LogicalReplicationService } from 'pg-logical-replication/dist/logical-replication-service.js'
import { AbstractPlugin } from 'pg-logical-replication/dist/output-plugins/abstract.plugin.js'
import { PgoutputPlugin } from 'pg-logical-replication/dist/output-plugins/pgoutput/pgoutput-plugin.js'
import { parseLsn, type Lsn } from '../../../migration/lsn.ts'
import { sourceObjects } from '../../../migration/replicate/slot-name.ts'
import { SOURCE_USER, type ServerPair } from '../../support/servers.ts'
import type { Following } from './following.ts'

type ServiceConfig = ConstructorParameters<typeof LogicalReplicationService>[1]

/** pg-logical-replication as its manual shows it, with a slot of its own beside the one of the engine. */
export interface Library extends AsyncDisposable {
  /** Begins where the source takes it that everything before is done. */
  subscribe(options: LibraryOptions): Promise<LibraryStream>
  confirmed(): Promise<Lsn>
}

export interface LibraryOptions {
  config?: ServiceConfig
  plugin?: AbstractPlugin
  client?: ClientConfig
  onData: (message: { tag: string; new?: Record<string, unknown>; commitEndLsn?: string }, lsn: string) => unknown
}

export interface LibraryStream extends AsyncDisposable {
  service: LogicalReplicationService
  errors: unknown[]
}

export async function openLibrary(pair: ServerPair, following: Following): Promise<Library> {
  const { context } = following
  const { slot: own, publication } = sourceObjects(context.key, context.database)
  const slot = `${own.slice(0, 50)}_library`
  await using source = await context.source('test')
  await source.query(`select pg_create_logical_replication_slot($1, 'pgoutput')`, [slot])
  return {
    async subscribe({ config, plugin, client, onData }) {
      const service = new LogicalReplicationService(
        {
          host: pair.source.host,
          port: pair.source.port,
          user: SOURCE_USER,
          password: pair.sourcePassword,
          database: context.database,
          ...client,
        },
        config,
      )
      const errors: unknown[] = []
      service.on('error', (error: unknown) => errors.push(error))
      // With flow control a promise that it returns is waited for.
      service.on('data', ((lsn: string, message: never) => onData(message, lsn)) as (lsn: string, log: unknown) => void)
      const started = new Promise<void>((resolve) => service.on('start', () => resolve()))
      const ended = service
        .subscribe(plugin ?? new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] }), slot)
        .then(() => {})
        .catch((error: unknown) => void errors.push(error))
      await Promise.race([started, ended])
      return {
        service,
        errors,
        async [Symbol.asyncDispose]() {
          await service.destroy()
          await ended
        },
      }
    },
    async confirmed() {
      await using admin = await pair.source.connect(context.database)
      const { rows } = await admin.query<{ lsn: string }>(
        'select confirmed_flush_lsn as lsn from pg_replication_slots where slot_name = $1',
        [slot],
      )
      return parseLsn(rows[0]!.lsn)
    },
    async [Symbol.asyncDispose]() {
      await using admin = await pair.source.connect(context.database)
      await admin.query('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1', [
        slot,
      ])
      for (;;) {
        const { rows } = await admin.query('select from pg_replication_slots where slot_name = $1 and active', [slot])
        if (rows.length === 0) break
      }
      await admin.query('select pg_drop_replication_slot($1)', [slot])
    },
  }
}

/** Gives a handler the bytes of each message, as the library gives them to a plugin. */
export class BytesPlugin extends AbstractPlugin<{ publication: string; options: string }> {
  get name(): string {
    return 'pgoutput'
  }

  start(client: Client, slot: string, lsn: string): Promise<unknown> {
    const { publication, options } = this.options
    return client.query(
      `START_REPLICATION SLOT "${slot}" LOGICAL ${lsn} (${options}, publication_names '${publication}')`,
    )
  }

  parse(bytes: Buffer): Buffer {
    return bytes
  }
}
