import type pg from 'pg'
import type { Connection } from '../../../migration/connect.ts'
import type { DatabaseContext } from '../../../migration/context.ts'
import { createControlSchema } from '../../../migration/control/control-schema.ts'
import { createPublicationAndSlot, dropPublicationAndSlot } from '../../../migration/replicate/replication-slot.ts'
import { replicateSlice, type SliceOptions, type SliceResult } from '../../../migration/replicate/replicate-slice.ts'
import { parseLsn, type Lsn } from '../../../migration/lsn.ts'
import { listTables } from '../../../migration/load/tables.ts'
import {
  APP_USER,
  createSourceDatabase,
  createTargetDatabase,
  createTestMigration,
  type ServerPair,
  type TestMigration,
  type TestMigrationOptions,
} from '../../support/servers.ts'
import { expectEqualContents } from '../../support/contents.ts'

/** A database that is followed: the same tables on both sides, empty at the beginning. */
export interface Following extends AsyncDisposable {
  migration: TestMigration
  context: DatabaseContext
  /** A session of the application on the source. */
  app: pg.Client
  /** Follows for a time. */
  slice(options: SliceOptions): Promise<SliceResult>
  /** Follows until the target has everything that is committed now. */
  catchUp(): Promise<SliceResult>
  /** {@link catchUp}, then expects equal contents. */
  expectEqual(): Promise<void>
  /** One value of the target, as text. */
  onTarget(sql: string): Promise<string | null>
}

export interface FollowingOptions extends TestMigrationOptions {
  /** DDL for both sides. */
  ddl: string
  /** More DDL for the source alone, before the slot. */
  sourceDdl?: string
  /** More DDL for the target alone. */
  targetDdl?: string
  /** More clauses for CREATE DATABASE, such as an encoding. */
  sourceClauses?: string
  targetClauses?: string
}

/** Prepares both sides, makes the slot, and declares all tables copied as they are: empty, at P0. */
export async function startFollowing(
  pair: ServerPair,
  database: string,
  options: FollowingOptions,
): Promise<Following> {
  await createSourceDatabase(pair, database, `${options.ddl}; ${options.sourceDdl ?? ''}`, options.sourceClauses)
  await createTargetDatabase(pair, database, options.targetClauses)
  const migration = await createTestMigration(pair, database, {
    key: `test-${database.replace(/[^A-Za-z0-9]/g, '-')}`,
    ...options,
  })
  const { context } = migration
  {
    await using target = await context.target('test')
    await target.query('set search_path = public')
    await target.query(`${options.ddl}; ${options.targetDdl ?? ''}`)
    await createControlSchema(target, context.key)
  }
  const { startLsn } = await createPublicationAndSlot(context)
  await declareCopied(context, startLsn)
  const app = await pair.source.connect(database)
  await app.query(`set role ${APP_USER}`)
  const following: Following = {
    migration,
    context,
    app,
    slice: (sliceOptions) => replicateSlice(context, sliceOptions),
    async catchUp() {
      const until = await sourceEnd(context)
      for (;;) {
        const result = await replicateSlice(context, { ms: 60_000, until })
        if (result.reason !== 'busy') return result
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
    async expectEqual() {
      const { reason } = await this.catchUp()
      if (reason !== 'reached') throw new Error(`The slice ended with ${reason}.`)
      await using source = await context.source('test')
      await using target = await context.target('test')
      await expectEqualContents(source, target)
    },
    async onTarget(sql) {
      await using target = await context.target('test')
      const { rows } = await target.query<Record<string, string | null>>(sql)
      return rows[0] ? Object.values(rows[0])[0]! : null
    },
    async [Symbol.asyncDispose]() {
      await app.end()
      await dropPublicationAndSlot(context)
      await migration[Symbol.asyncDispose]()
    },
  }
  return following
}

/** Fills pgflex.table_copy as a load does. */
export async function declareCopied(context: DatabaseContext, lsn: string): Promise<void> {
  await using source = await context.source('test')
  await using target = await context.target('test')
  for (const { schema, name } of await listTables(source, () => true)) {
    await target.query(
      `insert into pgflex.table_copy (schema_name, table_name, batch, state, snapshot_lsn) values ($1, $2, 0, 'completed', $3)`,
      [schema, name, lsn],
    )
  }
}

/** An LSN after every commit so far. */
export async function sourceEnd(context: DatabaseContext): Promise<Lsn> {
  await using source: Connection = await context.source('test')
  await source.query(`select pg_logical_emit_message(true, 'test', '')`)
  const { rows } = await source.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn')
  return parseLsn(rows[0]!.lsn)
}
