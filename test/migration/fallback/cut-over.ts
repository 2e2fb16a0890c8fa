import type pg from 'pg'
import { createControlSchema } from '../../../migration/control/control-schema.ts'
import { cutoverDatabase } from '../../../migration/cutover/cutover-database.ts'
import { endDatabase } from '../../../migration/cutover/end-database.ts'
import type { DatabaseContext } from '../../../migration/context.ts'
import { databaseContext, serverContext } from '../../../migration/context.ts'
import { reversed } from '../../../migration/fallback/reversed-context.ts'
import { takeEndLsn } from '../../../migration/cutover/end-lsn.ts'
import { followBack } from '../../../migration/fallback/follow-back.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planDatabaseLoad } from '../../../migration/load/plan-database-load.ts'
import { loadLargeObjects } from '../../../migration/load/large-objects.ts'
import type { DatabaseStatus } from '../../../migration/model/status.ts'
import { createPublicationAndSlot } from '../../../migration/replicate/replication-slot.ts'
import { createSlot } from '../../../migration/replicate/create-slot.ts'
import { follow } from '../../../migration/replicate/follow.ts'
import { replicateSlice } from '../../../migration/replicate/replicate-slice.ts'
import { buildIndexes } from '../../../migration/schema/build-indexes.ts'
import { prepareDatabase } from '../../../migration/schema/prepare-database.ts'
import { readDatabaseStatus, updateRecord } from '../../../migration/store/migrations.ts'
import { declareCopied } from '../replicate/following.ts'
import { expectEqualContents } from '../../support/contents.ts'
import {
  APP_USER,
  createSourceDatabase,
  createTargetDatabase,
  createTestMigration,
  SOURCE_USER,
  startServerPair,
  TARGET_USER,
  type ServerPair,
  type TestMigration,
  type TestMigrationOptions,
} from '../../support/servers.ts'

/** Servers on which the roles have what a way back needs besides. */
export async function startFallbackPair(sourceMajor: number, targetMajor: number): Promise<ServerPair> {
  const pair = await startServerPair(sourceMajor, targetMajor)
  await using source = await pair.source.connect()
  await source.query(
    sourceMajor >= 15
      ? `grant set on parameter session_replication_role to ${SOURCE_USER}`
      : `alter role ${SOURCE_USER} superuser`,
  )
  await source.query(`grant pg_signal_backend to ${SOURCE_USER}`)
  await using target = await pair.target.connect()
  await target.query(`alter role ${TARGET_USER} replication`)
  await target.query(`grant pg_signal_backend to ${TARGET_USER}`)
  // As a migration of roles leaves it: the application's role is there, and ours is a member of it.
  await target.query(
    `create role ${APP_USER} login password '${pair.appPassword}'; grant ${APP_USER} to ${TARGET_USER}`,
  )
  return pair
}

/** A database with a way back, whose cutover has been asked for. */
export interface WithWayBack extends AsyncDisposable {
  migration: TestMigration
  /** The context as the next activity gets it: with what is stored by now. */
  context(): Promise<DatabaseContext>
  back(): Promise<DatabaseContext>
  backStatus(): Promise<DatabaseStatus>
  /** Cuts over, and ends the migration of the database. */
  cutOver(): Promise<void>
  /** What the user asks for after it. */
  ask(action: 'switchBack' | 'end' | undefined): Promise<void>
  /** Follows back until the old server has everything. */
  catchUp(): Promise<void>
  /** {@link catchUp}, and expects equal contents. */
  expectEqual(): Promise<void>
  onSource(sql: string): Promise<Record<string, unknown>[]>
  onTarget(sql: string): Promise<Record<string, unknown>[]>
  /** A session of the application on the new server. */
  app(): Promise<pg.Client & AsyncDisposable>
}

export interface ReadyOptions extends TestMigrationOptions {
  /** DDL of the application. */
  ddl: string
  /** Rows of the source. */
  rows?: string
  /** Copies schema and rows as a migration does; else both sides get the DDL, and the rows are followed. */
  load?: boolean
}

/** Brings a database with this content to where it follows and has been asked to cut over. */
export async function readyToCutOver(pair: ServerPair, database: string, options: ReadyOptions): Promise<WithWayBack> {
  const { ddl, rows = '', load = false } = options
  await createSourceDatabase(pair, database, load ? `${ddl}; ${rows}` : ddl)
  const migration = await createTestMigration(pair, database, {
    key: `b-${database.replaceAll('_', '-')}`,
    ...options,
    pgflex: { fallback: 'ReverseReplication', ...options.pgflex },
  })
  if (load) await loadWhole(migration.context)
  else await declareLoaded(pair, migration.context, ddl, rows)
  const { surroundings } = migration
  const { key } = migration.context
  const context = async (): Promise<DatabaseContext> =>
    databaseContext(await serverContext(surroundings, key), database)
  const back = async (): Promise<DatabaseContext> => reversed(await context())
  await updateRecord(surroundings.documents, key, (record) => ({
    ...record,
    requests: { ...record.requests, cutover: { [database]: { at: new Date().toISOString(), force: false } } },
  }))
  const { next } = await follow(migration.context)
  if (next !== 'cutover') throw new Error(`Following ended with ${next}.`)
  const on = async (side: 'source' | 'target', text: string): Promise<Record<string, unknown>[]> => {
    await using admin = await pair[side].connect(database)
    return (await admin.query<Record<string, unknown>>(text)).rows
  }
  const catchUp = async (): Promise<void> => {
    const [forward, reverse] = [await context(), await back()]
    const { phase } = await readDatabaseStatus(surroundings.documents, reverse.key, database)
    // The first slice also prepares the old server.
    if (phase === 'CreatingSlot') await followBack({ ...forward, sliceMs: 1 })
    const until = await takeEndLsn(reverse)
    for (;;) {
      const { reason } = await replicateSlice(reverse, { ms: 60_000, until })
      if (reason === 'reached') return
      if (reason !== 'busy') throw new Error(`The slice ended with ${reason}.`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  return {
    migration,
    context,
    back,
    backStatus: async () => readDatabaseStatus(surroundings.documents, (await back()).key, database),
    async cutOver() {
      const { next: outcome } = await cutoverDatabase(await context())
      if (outcome !== 'finished') {
        throw new Error((await readDatabaseStatus(surroundings.documents, key, database)).message)
      }
      await endDatabase(await context(), { state: 'Succeeded' })
    },
    async ask(action) {
      await updateRecord(surroundings.documents, key, (record) => ({
        ...record,
        requests: {
          ...record.requests,
          fallback: action === undefined ? {} : { [database]: { action, at: new Date().toISOString() } },
        },
      }))
    },
    catchUp,
    async expectEqual() {
      await catchUp()
      const forward = await context()
      await using source = await forward.source('test')
      await using target = await forward.target('test')
      await expectEqualContents(target, source)
    },
    onSource: (text) => on('source', text),
    onTarget: (text) => on('target', text),
    async app() {
      const session = await pair.target.connect(database)
      await session.query(`set role ${APP_USER}`)
      return session
    },
    async [Symbol.asyncDispose]() {
      // A test that failed leaves a slot behind, and with it a database that cannot be dropped.
      await using target = await pair.target.connect(database)
      await target.query(
        `select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database() and active`,
      )
      await using source = await pair.source.connect(database)
      for (const server of [source, target]) {
        await server.query(
          `select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database() and not active`,
        )
      }
      await migration[Symbol.asyncDispose]()
    },
  }
}

async function loadWhole(context: DatabaseContext): Promise<void> {
  await prepareDatabase(context)
  await createSlot(context)
  await planDatabaseLoad(context)
  await copyTables(context, { worker: 0 })
  await loadLargeObjects(context)
  await buildIndexes(context)
}

async function declareLoaded(pair: ServerPair, context: DatabaseContext, ddl: string, rows: string): Promise<void> {
  await createTargetDatabase(pair, context.database)
  {
    await using admin = await pair.target.connect(context.database)
    await admin.query(`grant create on schema public to ${APP_USER}; set role ${APP_USER}`)
    await admin.query(ddl)
    await using target = await context.target('test')
    await createControlSchema(target, context.key)
  }
  const { startLsn } = await createPublicationAndSlot(context)
  await declareCopied(context, startLsn)
  await using source = await pair.source.connect(context.database)
  await source.query(rows)
}

const LEFT = `
  select 'slot ' || slot_name as left from pg_replication_slots where database = current_database()
  union all select 'publication ' || pubname from pg_publication
  union all select 'schema ' || nspname from pg_namespace where nspname = 'pgflex'`

/** Slots, publications and control schemas on both sides. */
export async function leftOf(way: WithWayBack): Promise<string[]> {
  const [source, target] = [await way.onSource(LEFT), await way.onTarget(LEFT)]
  return [
    ...source.map((row) => `source: ${String(row['left'])}`),
    ...target.map((row) => `target: ${String(row['left'])}`),
  ]
}

/** Whether an application may write in a new session. */
export async function isFrozen(way: WithWayBack, side: 'source' | 'target'): Promise<boolean> {
  const sql = `select current_setting('default_transaction_read_only') as frozen`
  const [row] = await (side === 'source' ? way.onSource(sql) : way.onTarget(sql))
  return row!['frozen'] === 'on'
}
