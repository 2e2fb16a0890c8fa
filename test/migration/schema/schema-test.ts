import { dumpDatabase } from '../../../migration/schema/dump.ts'
import { applyPostData, planPostData } from '../../../migration/schema/apply-post-data.ts'
import { applyPreData } from '../../../migration/schema/apply-pre-data.ts'
import { createTargetDatabase } from '../../../migration/schema/create-database.ts'
import { validateForeignKeys } from '../../../migration/schema/validate-foreign-keys.ts'
import type { Connection } from '../../../migration/connect.ts'
import type { DatabaseContext } from '../../../migration/context.ts'
import { id } from '../../../migration/sql.ts'
import { APP_USER, startServerPair, TARGET_USER, type ServerPair } from '../../support/servers.ts'

/** Roles of the rich schema: the migrating role of the target has made those that it shares with the source. */
export async function startPairWithRoles(sourceMajor: number, targetMajor: number): Promise<ServerPair> {
  const pair = await startServerPair(sourceMajor, targetMajor)
  try {
    await using source = await pair.source.connect()
    await source.query('create role reader; create role clerk; create role only_on_source')
    await using target = await pair.target.connect()
    await target.query(`set createrole_self_grant = 'set, inherit'; set role ${TARGET_USER};
      create role reader; create role clerk; create role ${APP_USER}`)
    return pair
  } catch (error) {
    await pair[Symbol.asyncDispose]()
    throw error
  }
}

/** The same schema made on the target server by hand: what a migration has to come to. */
export async function createReference(pair: ServerPair, name: string, sql: string): Promise<void> {
  {
    await using admin = await pair.target.connect()
    await admin.query(`create database ${id(name)} template template0 owner ${APP_USER}`)
  }
  await using database = await pair.target.connect(name)
  await database.query(`grant create on schema public to public; set role ${APP_USER}`)
  await database.query(sql)
}

/** All of a migration's schema steps, without data. */
export async function migrateSchema(context: DatabaseContext): Promise<{ warnings: string[]; failed: string[] }> {
  await createTargetDatabase(context)
  const { warnings } = await applyPreData(context)
  await planPostData(context)
  const results = [
    await applyPostData(context, 'load'),
    await applyPostData(context, 'cutover'),
    await validateForeignKeys(context),
  ]
  return {
    warnings: [...warnings, ...results.flatMap((result) => result.warnings)],
    failed: results.flatMap(({ failed }) => failed.map(({ object, message }) => `${object}: ${message}`)),
  }
}

/**
 * What pg_dump prints of a whole database, without the versions in its head and the names of not-null
 * constraints: PostgreSQL 18 names those of partitions after the parent when they were created with it.
 */
export async function schemaOf(connection: Connection): Promise<string> {
  const text = await dumpDatabase(connection, ['--schema-only'])
  return text.replace(/^-- Dumped .*$/gm, '').replace(/ CONSTRAINT "[^"]*_not_null" NOT NULL/g, ' NOT NULL')
}
