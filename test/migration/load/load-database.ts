import { expect } from 'vitest'
import type { EmbeddedServer } from '../../../demo/embedded-postgres.ts'
import type { DatabaseContext } from '../../../migration/context.ts'
import { createControlSchema } from '../../../migration/control/control-schema.ts'
import { id } from '../../../migration/sql.ts'
import {
  createSourceDatabase,
  createTargetDatabase,
  createTestMigration,
  TARGET_USER,
  type ServerPair,
  type TestMigration,
  type TestMigrationOptions,
} from '../../support/servers.ts'

export interface LoadDatabase {
  /** Runs on both sides, as the owner: what the schema step brings about before the load. */
  ddl: string
  /** Runs on the source alone. */
  data?: string
}

/** A database on both sides with the same empty tables and the control schema; the rows are on the source. */
export async function createLoadDatabase(
  pair: ServerPair,
  name: string,
  { ddl, data }: LoadDatabase,
  options: TestMigrationOptions = {},
): Promise<TestMigration> {
  await createSourceDatabase(pair, name, `${ddl};\n${data ?? ''}`)
  await createTargetDatabase(pair, name)
  {
    await using target = await pair.target.connect(name)
    await target.query(`set role ${TARGET_USER}`)
    await target.query(ddl)
  }
  const migration = await createTestMigration(pair, name, { key: `test-${name}`, ...options })
  await using target = await migration.context.target('test')
  await createControlSchema(target, migration.context.key)
  return migration
}

/** For each table its rows and a hash over their text, whatever their order. */
export async function contents(server: EmbeddedServer, database: string): Promise<Record<string, string>> {
  await using client = await server.connect(database)
  await client.query(
    `set extra_float_digits = 3; set timezone = 'UTC'; set lc_monetary = 'C'; set search_path = pg_catalog`,
  )
  const { rows: tables } = await client.query<{ schema: string; name: string }>(
    `select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgflex') order by 1, 2`,
  )
  const result: Record<string, string> = {}
  for (const { schema, name } of tables) {
    const { rows } = await client.query<{ content: string }>(
      `select count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' order by t::text collate "C")), '') as content
         from only ${id(schema, name)} t`,
    )
    result[`${schema}.${name}`] = rows[0]!.content
  }
  return result
}

/** Source and target hold the same rows. */
export async function expectEqual(pair: ServerPair, database: string): Promise<void> {
  expect(await contents(pair.target, database)).toEqual(await contents(pair.source, database))
}

/** No session and no slot of ours is left on either side. */
export async function expectNoLeaks(pair: ServerPair): Promise<void> {
  for (const server of [pair.source, pair.target]) {
    await using admin = await server.connect()
    await expect
      .poll(
        async () => {
          const { rows } = await admin.query<{ name: string }>(
            `select application_name as name from pg_stat_activity where application_name like 'pgflex %'
              union all select slot_name from pg_replication_slots where slot_name like 'pgflex%'`,
          )
          return rows
        },
        { timeout: 10_000 },
      )
      .toEqual([])
  }
}

/** Rows of pgflex.table_copy by table name. */
export async function tableCopies(
  pair: ServerPair,
  database: string,
): Promise<Record<string, { state: string; rows_done: string; snapshot_lsn: string | null; message: string | null }>> {
  await using target = await pair.target.connect(database)
  const { rows } = await target.query(
    `select schema_name || '.' || table_name as name, state, rows_done::text, snapshot_lsn::text, message, batch,
            started_at::text, ended_at::text
       from pgflex.table_copy order by batch`,
  )
  return Object.fromEntries(rows.map(({ name, ...row }) => [name, row]))
}

/** The same database for a host that does not drain: an activity that runs after one that was ended. */
export function undrained(context: DatabaseContext): DatabaseContext {
  return { ...context, draining: new AbortController().signal }
}
