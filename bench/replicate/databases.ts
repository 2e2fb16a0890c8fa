import type pg from 'pg'
import type { EmbeddedServer } from '../../demo/embedded-postgres.ts'
import { APP_USER, TARGET_USER } from '../../demo/roles.ts'
import { id } from '../../migration/sql.ts'
import type { ServerPair } from '../../test/support/servers.ts'
import type { Shape } from './shape.ts'

/** The database on the source, and the one of each applier on the target. */
export const DATABASE = 'bench'
export const NATIVE_DATABASE = 'bench_native'
export const PGCOPYDB_DATABASE = 'bench_pgcopydb'
const ON_TARGET = [DATABASE, NATIVE_DATABASE, PGCOPYDB_DATABASE]
const TEMPLATE = 'bench_template'

/** A row that comes last: who sees it on the target knows that everything before it is there. */
const MARKER = 'create table bench_marker (id int primary key, at timestamptz);'

/** Makes the tables of a shape once on each side; every round begins with copies of their files. */
export async function createTemplates({ source, target }: ServerPair, shape: Shape): Promise<void> {
  await Promise.all([
    createTemplate(source, APP_USER, `${shape.tables} ${MARKER} ${shape.procedures}`),
    createTemplate(target, TARGET_USER, `${shape.tables} ${MARKER}`),
  ])
}

async function createTemplate(server: EmbeddedServer, owner: string, sql: string): Promise<void> {
  await using admin = await server.connect()
  await admin.query(`drop database if exists ${TEMPLATE}`)
  await admin.query(`create database ${TEMPLATE} owner ${id(owner)}`)
  {
    await using database = await server.connect(TEMPLATE)
    await database.query(`set role ${id(owner)}`)
    await database.query(sql)
    await database.query('reset role')
    // Hint bits and the visibility map are set now, and not by whoever comes first.
    await database.query('vacuum analyze')
  }
}

/** The databases of a round. */
export async function createDatabases({ source, target }: ServerPair): Promise<void> {
  await using admin = await source.connect()
  await using other = await target.connect()
  await copy(admin, DATABASE, APP_USER, source.major)
  for (const database of ON_TARGET) await copy(other, database, TARGET_USER, target.major)
}

async function copy(admin: pg.Client, database: string, owner: string, major: number): Promise<void> {
  // Before PostgreSQL 15 files are copied anyway.
  const strategy = major >= 15 ? 'strategy file_copy' : ''
  await admin.query(`create database ${id(database)} owner ${id(owner)} template ${TEMPLATE} ${strategy}`)
}

export async function dropDatabases({ source, target }: ServerPair): Promise<void> {
  await using admin = await source.connect()
  await using other = await target.connect()
  await admin.query(`drop database ${DATABASE} with (force)`)
  for (const database of ON_TARGET) await other.query(`drop database ${id(database)} with (force)`)
}
