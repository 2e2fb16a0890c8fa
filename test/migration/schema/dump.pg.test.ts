import { afterAll, beforeAll, expect, test } from 'vitest'
import { toFailure } from '../../../migration/errors.ts'
import { dumpSchema } from '../../../migration/schema/dump.ts'
import { splitDump } from '../../../migration/schema/split.ts'
import {
  createSourceDatabase,
  createTestMigration,
  SOURCE_USER,
  startServerPair,
  type ServerPair,
} from '../../support/servers.ts'

/** A machine may be busy: ms. */
const PATIENCE = { timeout: 30_000 }

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

test('a table that the role may not read is named in pg_dump’s own words', async () => {
  await createSourceDatabase(pair, 'secretive', 'create table seen ()')
  await using admin = await pair.source.connect('secretive')
  await admin.query('create table "not for you" ()')
  await using migration = await createTestMigration(pair, 'secretive')
  await expect(dumpSchema(migration.context, 'pre-data')).rejects.toMatchObject({
    code: 'SchemaDumpFailed',
    message:
      'The schema of the source could not be read: query failed: ERROR:  permission denied for table not for you',
    hint: expect.stringMatching(/grant <owner> to <role>/) as string,
  })
})

test('settings of the role and of the database do not change what is printed', async () => {
  const sql = `
    create table t (at timestamptz default '2024-03-01 12:00+01', span interval default '1 day 2 hours', f float8 default 0.1,
                    b bytea default '\\x00ff', x xml default xmlparse(content '<a/>'), "select" text default E'a\\\\b''c')
      partition by range (at);
    create table u partition of t for values from ('2024-01-01 00:00+00') to ('2025-01-01 00:00+00');`
  await createSourceDatabase(pair, 'plain', sql)
  await createSourceDatabase(pair, 'tuned', sql)
  {
    await using admin = await pair.source.connect()
    for (const setting of [
      `datestyle = 'SQL, DMY'`,
      `intervalstyle = 'sql_standard'`,
      'extra_float_digits = 0',
      `bytea_output = 'escape'`,
      `timezone = 'Asia/Tokyo'`,
      'quote_all_identifiers = on',
      `search_path = 'public'`,
      'standard_conforming_strings = off',
      `statement_timeout = '1ms'`,
      'default_transaction_read_only = on',
      `client_encoding = 'LATIN1'`,
    ]) {
      await admin.query(`alter role ${SOURCE_USER} in database tuned set ${setting}`)
    }
  }
  await using plain = await createTestMigration(pair, 'plain')
  await using tuned = await createTestMigration(pair, 'tuned')
  expect(await dumpSchema(tuned.context, 'pre-data')).toBe(await dumpSchema(plain.context, 'pre-data'))
})

test('our own schema is left out, and so are large objects', async () => {
  await createSourceDatabase(
    pair,
    'own',
    'create schema pgflex; create table pgflex.lease (); create table t (); select lo_create(0)',
  )
  await using migration = await createTestMigration(pair, 'own')
  const statements = await splitDump(await dumpSchema(migration.context, 'pre-data'))
  const kinds = statements.map(({ kind }) => kind).filter((kind) => !kind.includes('SCHEMA'))
  expect(kinds).toEqual(['TABLE', 'OWNER OF TABLE'])
})

test('a connection that breaks in the middle is an error to try again after', async () => {
  await createSourceDatabase(pair, 'breaking', 'create table t ()')
  await using migration = await createTestMigration(pair, 'breaking')
  await using admin = await pair.source.connect('breaking')
  // pg_dump waits for its lock on the table, until its session is ended.
  await admin.query('begin; lock table t in access exclusive mode')
  const dump = dumpSchema(migration.context, 'pre-data').then(
    () => undefined,
    (error: unknown) => toFailure(error),
  )
  await using killer = await pair.source.connect()
  await expect
    .poll(async () => {
      const { rowCount } = await killer.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
          where datname = 'breaking' and wait_event_type = 'Lock'`,
      )
      return rowCount
    }, PATIENCE)
    .toBe(1)
  expect(await dump).toMatchObject({ code: 'SchemaDumpFailed', retryable: true })
})

test('a host that stops does not wait for the dump', async () => {
  await createSourceDatabase(pair, 'draining', 'create table t ()')
  await using migration = await createTestMigration(pair, 'draining')
  await using admin = await pair.source.connect('draining')
  await admin.query('begin; lock table t in access exclusive mode')
  const dump = dumpSchema(migration.context, 'pre-data').then(
    () => undefined,
    (error: unknown) => toFailure(error),
  )
  await using watcher = await pair.source.connect()
  await expect
    .poll(async () => {
      const { rowCount } = await watcher.query(
        `select from pg_stat_activity where datname = 'draining' and wait_event_type = 'Lock'`,
      )
      return rowCount
    }, PATIENCE)
    .toBe(1)
  migration.drain()
  expect(await dump).toMatchObject({ code: 'Draining', retryable: true })
})

test('bytes that no encoding explains are told, not changed', async () => {
  await using admin = await pair.source.connect()
  await admin.query(
    `create database bytes template template0 owner app encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'`,
  )
  await using database = await pair.source.connect('bytes')
  await database.query(`set role app; create table t (); comment on table t is 'gr\u00fcn'`)
  await using migration = await createTestMigration(pair, 'bytes')
  expect(await dumpSchema(migration.context, 'pre-data')).toContain('gr\u00fcn')
  await database.query(`create table u (); comment on table u is E'gr\\xfcn'`)
  await expect(dumpSchema(migration.context, 'pre-data')).rejects.toMatchObject({
    code: 'SchemaDumpFailed',
    message:
      'The schema of the source could not be read: query failed: ERROR:  invalid byte sequence for encoding "UTF8": 0xfc',
  })
})
