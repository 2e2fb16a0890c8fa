import { expect, vi } from 'vitest'
import { connect, type Connection } from '../../../migration/connect.ts'
import { loadLargeObjects } from '../../../migration/load/large-objects.ts'
import { copyTables } from '../../../migration/load/copy-tables.ts'
import { planDatabaseLoad } from '../../../migration/load/plan-database-load.ts'
import type { PgflexOptions } from '../../../migration/model/record.ts'
import type { DatabaseStatus } from '../../../migration/model/status.ts'
import { createSlot } from '../../../migration/replicate/create-slot.ts'
import { buildIndexes } from '../../../migration/schema/build-indexes.ts'
import { prepareDatabase } from '../../../migration/schema/prepare-database.ts'
import { readDatabaseStatus, updateRecord } from '../../../migration/store/migrations.ts'
import { expectEqualContents } from '../../support/contents.ts'
import {
  createSourceDatabase,
  createTestMigration,
  type ServerPair,
  type TestMigration,
} from '../../support/servers.ts'
import { startStatementRelay } from '../../support/statement-relay.ts'
import { startCutoverProcess, type CutoverProcess } from './cutover-process.ts'
import { findFaults, startWriters, WRITERS_DDL, type Writers } from './cutover-writers.ts'
import { StepWatch } from './step-watch.ts'

/** ms for a cutover to get to its next step, also on a busy machine and after a crash of its server. */
const STEP_MS = 60_000

/** A database that is followed while clients write on its source, and whose cutover can be stopped anywhere. */
export interface CutoverCase extends AsyncDisposable {
  database: string
  migration: TestMigration
  writers: Writers
  watch: StepWatch
  /** Lets go on what the watch has stopped. */
  release(): void
  start(): CutoverProcess
  ask(what?: 'cutover' | 'cancel'): Promise<void>
  status(): Promise<DatabaseStatus>
  onSource(sql: string): Promise<Record<string, unknown>[]>
  onTarget(sql: string): Promise<Record<string, unknown>[]>
  /** Expects writes to be let in on the source, and the migration to follow them and to wait for another request. */
  expectCalledOff(told: RegExp): Promise<void>
  /** Expects the source to be read-only, and every transaction once on the target, where the clients then go on. */
  expectCutOver(options?: { sourceCrashed?: boolean }): Promise<void>
  /** After {@link expectCutOver}: nobody has changed anything since. */
  expectStillCutOver(): Promise<void>
}

export async function prepareCase(
  pair: ServerPair,
  database: string,
  pgflex: Partial<PgflexOptions> = {},
): Promise<CutoverCase> {
  await using stack = new AsyncDisposableStack()
  const watch = new StepWatch(database)
  const toSource = stack.use(await startStatementRelay(pair.source, (statement) => watch.judge('source', statement)))
  const toTarget = stack.use(await startStatementRelay(pair.target, (statement) => watch.judge('target', statement)))
  await createSourceDatabase(pair, database, WRITERS_DDL)
  const migration = stack.use(
    await createTestMigration(
      { ...pair, source: { ...pair.source, port: toSource.port }, target: { ...pair.target, port: toTarget.port } },
      database,
      { key: `m-${database.replaceAll('_', '-')}`, pgflex: { verify: 'Checksums', ...pgflex } },
    ),
  )
  const { context } = migration
  const writers = stack.use(startWriters(pair, database))
  await prepareDatabase(context)
  await createSlot(context)
  await planDatabaseLoad(context)
  expect(await copyTables(context, { worker: 0 })).toMatchObject({ errored: 0, remaining: 0 })
  expect(await loadLargeObjects(context)).toEqual({ finished: true })
  await buildIndexes(context)
  const processes = stack.use(new AsyncDisposableStack())
  const owned = stack.move()
  const on = async (side: 'source' | 'target', sql: string): Promise<Record<string, unknown>[]> => {
    await using admin = await pair[side].connect(database)
    // The test is above a freeze.
    await admin.query('set default_transaction_read_only = off')
    return (await admin.query<Record<string, unknown>>(sql)).rows
  }
  const status = (): Promise<DatabaseStatus> => readDatabaseStatus(context.documents, context.key, database)
  const frozen = (): Promise<Record<string, unknown>[]> =>
    on(
      'source',
      `select from pg_db_role_setting join pg_database as d on d.oid = setdatabase
        where datname = current_database() and 'default_transaction_read_only=on' = any (setconfig)`,
    )

  return {
    database,
    migration,
    writers,
    watch,
    release() {
      toSource.release()
      toTarget.release()
    },
    start: () => processes.use(startCutoverProcess(migration)),
    async ask(what = 'cutover') {
      await updateRecord(context.documents, context.key, (record) => ({
        ...record,
        requests: { ...record.requests, [what]: { [database]: { at: new Date().toISOString(), force: false } } },
      }))
    },
    status,
    onSource: (sql) => on('source', sql),
    onTarget: (sql) => on('target', sql),
    async expectCalledOff(told) {
      await vi.waitFor(
        async () => {
          const { message, freeze, cutover, migrationState } = await status()
          expect({ message, freeze, cutover, migrationState }).toEqual({
            message: expect.stringMatching(told),
            freeze: undefined,
            cutover: undefined,
            migrationState: 'WaitingForCutoverTrigger',
          })
        },
        { timeout: STEP_MS, interval: 20 },
      )
      expect(await frozen()).toEqual([])
      await writers.untilMore()
    },
    async expectCutOver({ sourceCrashed = false } = {}) {
      await vi.waitFor(async () => expect(await status()).toMatchObject({ phase: 'Ended' }), {
        timeout: STEP_MS,
        interval: 20,
      })
      expect(await status()).toMatchObject({ migrationState: 'Succeeded', warnings: expect.anything() })
      expect(await frozen()).toHaveLength(1)
      // A crash of the source empties unlogged tables, also after they have been copied.
      const lost = sourceCrashed && (await on('source', 'select from scratch limit 1')).length === 0
      if (lost) await on('target', 'truncate scratch')
      await expectEqual(pair, database)
      {
        await using target = await pair.target.connect(database)
        expect(await findFaults(target, writers.acknowledged())).toEqual([])
      }
      writers.moveTo('target')
      await writers.untilMore()
      await writers.stop()
      await using target = await pair.target.connect(database)
      expect(await findFaults(target, writers.acknowledged())).toEqual([])
      await using source = await pair.source.connect(database)
      expect((await source.query('select from pg_replication_slots where database = current_database()')).rows).toEqual(
        [],
      )
    },
    async expectStillCutOver() {
      expect(await status()).toMatchObject({ phase: 'Ended', migrationState: 'Succeeded' })
      expect(await frozen()).toHaveLength(1)
      await using target = await pair.target.connect(database)
      expect(await findFaults(target, writers.acknowledged())).toEqual([])
      const { rows } = await target.query(`select from ticket where last_value >= (select max(ticket) from sold)`)
      expect(rows).toHaveLength(1)
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function expectEqual(pair: ServerPair, database: string): Promise<void> {
  const open = (side: 'source' | 'target'): Promise<Connection> => {
    const { host, port, user, password } = pair[side]
    return connect(
      { side, host, port, user, sslMode: 'Prefer', password: () => Promise.resolve(password) },
      { database, purpose: 'test' },
    )
  }
  await using source = await open('source')
  await using target = await open('target')
  await expectEqualContents(source, target)
}
