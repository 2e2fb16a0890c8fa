import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createControlSchema } from '../../migration/control/control-schema.ts'
import type { DatabaseContext } from '../../migration/context.ts'
import { formatLsn } from '../../migration/lsn.ts'
import { listTables } from '../../migration/load/tables.ts'
import { listPublications } from '../../migration/replicate/publication.ts'
import { createPublicationAndSlot, dropPublicationAndSlot } from '../../migration/replicate/replication-slot.ts'
import { readProgress } from '../../migration/replicate/progress.ts'
import { sourceObjects } from '../../migration/replicate/slot-name.ts'
import { beginTables } from '../../migration/verify/compared-tables.ts'
import { createTestMigration, type ServerPair } from '../../test/support/servers.ts'
import type { Applier, OwnUse } from './applier.ts'
import { DATABASE } from './databases.ts'
import type { Begin, Ended } from './pgflex-process.ts'

export interface PgflexApplier extends Applier {
  publications: string[]
  /** Row changes and transactions as pgflex has counted them on the target. */
  counted(): Promise<{ changes: number; transactions: number; missed: number }>
}

/**
 * @param execArgv options of Node for the process, such as `--cpu-prof`
 * @param marked all changes are marked
 */
export async function createPgflexApplier(
  pair: ServerPair,
  execArgv: string[],
  marked = false,
): Promise<PgflexApplier> {
  const migration = await createTestMigration(pair, DATABASE, { key: 'bench' })
  const { context, folder } = migration
  const names = sourceObjects(context.key, DATABASE)
  {
    await using target = await context.target('bench')
    await createControlSchema(target, context.key)
  }
  const { startLsn } = await createPublicationAndSlot(context)
  const publications = await declareCopied(context, startLsn)
  if (marked) await markAll(context)
  const child = fork(fileURLToPath(import.meta.resolve(`./pgflex-process${extname(import.meta.url)}`)), [], {
    execArgv,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  await once(child, 'message')
  const ended = new Promise<Ended>((resolve) => {
    child.once('message', (message) => resolve(message as Ended))
    child.once('exit', (code, signal) => resolve({ error: `The process ended with ${code ?? signal}.` }))
  })
  let failure: string | undefined
  void ended.then((result) => {
    if ('error' in result) failure = result.error
  })
  let untilGiven = false
  return {
    name: 'pgflex',
    database: DATABASE,
    publications,
    process: { root: () => child.pid, nameOf: () => 'pgflex' },
    async begin(until) {
      untilGiven = until !== undefined
      child.send({
        folder,
        key: context.key,
        database: DATABASE,
        ...(until === undefined ? {} : { until: formatLsn(until) }),
      } satisfies Begin)
    },
    async check() {
      if (failure !== undefined) throw new Error(`pgflex has failed: ${failure}`)
    },
    async end(): Promise<OwnUse> {
      if (!untilGiven) child.send('stop')
      const result = await ended
      if ('error' in result) throw new Error(`pgflex has failed: ${result.error}`)
      // A profile is written at its very end.
      await exited(child)
      return result.use
    },
    async counted() {
      await using target = await context.target('bench')
      const progress = await readProgress(target, names.slot)
      const { inserts, updates, deletes, transactions, missed } = progress
      return { changes: inserts + updates + deletes, transactions, missed }
    },
    remove: () => dropPublicationAndSlot(context),
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await exited(child)
      await migration[Symbol.asyncDispose]()
    },
  }
}

async function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

/** Says what a load says at its end: the tables are as the source had them at the slot's consistent point. */
async function declareCopied(context: DatabaseContext, lsn: string): Promise<string[]> {
  await using source = await context.source('bench')
  await using target = await context.target('bench')
  const tables = await listTables(source, () => true)
  await target.query(
    `insert into pgflex.table_copy (schema_name, table_name, batch, state, snapshot_lsn)
     select s, t, 0, 'completed', $3 from unnest($1::text[], $2::text[]) as copied (s, t)`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name), lsn],
  )
  return await listPublications(source, sourceObjects(context.key, context.database))
}

/** Asks for marks, as a comparison does. */
async function markAll(context: DatabaseContext): Promise<void> {
  await using target = await context.target('bench')
  const { rows } = await target.query<{ schema: string; name: string }>(
    'select schema_name as schema, table_name as name from pgflex.table_copy',
  )
  await beginTables(
    target,
    rows.map((table) => ({ ...table, bytes: 0 })),
  )
}
