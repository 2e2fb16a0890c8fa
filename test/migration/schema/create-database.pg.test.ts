import { afterAll, beforeAll, expect, test } from 'vitest'
import { createControlSchema } from '../../../migration/control/control-schema.ts'
import { createTargetDatabase } from '../../../migration/schema/create-database.ts'
import { id } from '../../../migration/sql.ts'
import {
  APP_USER,
  createSourceDatabase,
  createTestMigration,
  TARGET_USER,
  type ServerPair,
} from '../../support/servers.ts'
import { startPairWithRoles } from './schema-test.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startPairWithRoles(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** A database on the target as somebody else has left it. */
async function occupy(name: string, sql: string): Promise<void> {
  {
    await using admin = await pair.target.connect()
    await admin.query(`create database ${id(name)} owner ${TARGET_USER}`)
  }
  await using database = await pair.target.connect(name)
  await database.query(`set role ${TARGET_USER}; ${sql}`)
}

async function hasTable(database: string, table: string): Promise<boolean> {
  await using connection = await pair.target.connect(database)
  const { rows } = await connection.query('select from pg_class where relname = $1', [table])
  return rows.length > 0
}

test.each([
  ['UTF8', 'C', 'C'],
  ['UTF8', 'C.UTF-8', 'C.UTF-8'],
  ['LATIN1', 'C', 'C'],
  ['SQL_ASCII', 'C', 'C'],
])('a database of encoding %s and locale %s is made like it', async (encoding, collate, ctype) => {
  const name = `like ${encoding} ${collate} "q" 😀`
  {
    await using admin = await pair.source.connect()
    await admin.query(
      `create database ${id(name)} template template0 owner ${APP_USER} encoding '${encoding}' lc_collate '${collate}' lc_ctype '${ctype}'`,
    )
  }
  await using migration = await createTestMigration(pair, name)
  expect(await createTargetDatabase(migration.context)).toEqual({ created: true })
  await using admin = await pair.target.connect()
  const { rows } = await admin.query(
    `select pg_encoding_to_char(encoding) as encoding, datcollate, datctype, pg_get_userbyid(datdba) as owner
       from pg_database where datname = $1`,
    [name],
  )
  expect(rows).toEqual([{ encoding, datcollate: collate, datctype: ctype, owner: APP_USER }])
  expect((await migration.context.status({})).warnings).toEqual([])
})

test('an owner whom the target does not have is told, and the database is made all the same', async () => {
  {
    await using admin = await pair.source.connect()
    await admin.query('create database orphan owner only_on_source')
  }
  await using migration = await createTestMigration(pair, 'orphan')
  expect(await createTargetDatabase(migration.context)).toEqual({ created: true })
  expect((await migration.context.status({})).warnings).toEqual([expect.stringContaining('"only_on_source"')])
})

test('an empty database is used as it is', async () => {
  await createSourceDatabase(pair, 'empty', '')
  await occupy('empty', 'create extension pgcrypto')
  await using migration = await createTestMigration(pair, 'empty', { properties: { overwriteDbsInTarget: true } })
  expect(await createTargetDatabase(migration.context)).toEqual({ created: false })
  expect(await hasTable('empty', 'lease')).toBe(true)
})

test('a database with objects is not touched without consent', async () => {
  await createSourceDatabase(pair, 'occupied', '')
  await occupy('occupied', 'create schema s; create table s.precious ()')
  await using migration = await createTestMigration(pair, 'occupied')
  await expect(createTargetDatabase(migration.context)).rejects.toMatchObject({
    code: '603101',
    hint: expect.stringContaining('overwriteDbsInTarget') as string,
  })
  expect(await hasTable('occupied', 'precious')).toBe(true)
  expect(await hasTable('occupied', 'lease')).toBe(false)
})

test('with consent it is dropped once, even when sessions are open in it; what is made after that stays', async () => {
  await createSourceDatabase(pair, 'overwritten', '')
  await occupy('overwritten', 'create table old ()')
  await using migration = await createTestMigration(pair, 'overwritten', { properties: { overwriteDbsInTarget: true } })
  await using session = await migration.context.target('open session')
  expect(await createTargetDatabase(migration.context)).toEqual({ created: true })
  await expect(session.query('select 1')).rejects.toThrow(/./)
  expect(await hasTable('overwritten', 'old')).toBe(false)
  {
    await using target = await migration.context.target('new')
    await target.query('create table public.loaded ()')
  }
  expect(await createTargetDatabase(migration.context)).toEqual({ created: false })
  expect(await hasTable('overwritten', 'loaded')).toBe(true)
})

test('two copies at once drop what was there, and never what one of them has made', async () => {
  await createSourceDatabase(pair, 'raced', '')
  await occupy('raced', 'create table old ()')
  await using migration = await createTestMigration(pair, 'raced', { properties: { overwriteDbsInTarget: true } })
  const results = await Promise.all(Array.from({ length: 4 }, () => createTargetDatabase(migration.context)))
  expect(results.filter(({ created }) => created)).toHaveLength(1)
  expect(await hasTable('raced', 'old')).toBe(false)
})

test('the database of another migration is not touched, with consent or without', async () => {
  await createSourceDatabase(pair, 'taken', '')
  await occupy('taken', 'create table theirs ()')
  await using migration = await createTestMigration(pair, 'taken', { properties: { overwriteDbsInTarget: true } })
  {
    await using target = await migration.context.target('other')
    await createControlSchema(target, 'somebody else')
  }
  await expect(createTargetDatabase(migration.context)).rejects.toMatchObject({ code: 'ControlSchemaTaken' })
  expect(await hasTable('taken', 'theirs')).toBe(true)
})
