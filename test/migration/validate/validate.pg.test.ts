import { afterAll, beforeAll, expect, test } from 'vitest'
import { serverContext } from '../../../migration/context.ts'
import { createControlSchema } from '../../../migration/control/control-schema.ts'
import { readServerStatus } from '../../../migration/store/migrations.ts'
import { passwordName } from '../../../migration/store/secrets.ts'
import { findOccupiedDatabases } from '../../../migration/validate/target-databases.ts'
import { validate } from '../../../migration/validate/validate.ts'
import {
  createSourceDatabase,
  createTargetDatabase,
  createTestMigration,
  startServerPair,
  type ServerPair,
  type TestMigration,
} from '../../support/servers.ts'

let pair: ServerPair

beforeAll(async () => {
  pair = await startServerPair(13, 17)
  await createSourceDatabase(
    pair,
    'shop',
    `create table with_key (id int primary key);
     create table without_key (note text);
     create table full_identity (note text);
     alter table full_identity replica identity full;
     create unlogged table cache (id int primary key);`,
  )
})

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]()
})

/** Validates and returns all messages, worst first. */
async function findings(migration: TestMigration): Promise<{ proceed: boolean; messages: string[] }> {
  const server = await serverContext(migration.surroundings, migration.context.key)
  const { proceed } = await validate(server)
  const { validation } = await readServerStatus(migration.surroundings.documents, migration.context.key)
  const items = [
    ...validation!.serverLevelValidationDetails,
    ...validation!.dbLevelValidationDetails.flatMap(({ summary }) => summary),
  ]
  return {
    proceed,
    messages: items.flatMap((item) => item.messages ?? []).map(({ state, message }) => `${state} ${message}`),
  }
}

test('ordinary roles pass, with warnings about tables that cannot be followed in full', async () => {
  await using migration = await createTestMigration(pair, 'shop')
  const { proceed, messages } = await findings(migration)
  expect(proceed).toBe(true)
  expect(messages).toEqual([
    expect.stringMatching(/^Warning Only inserts .* copied again in whole at cutover.* public\.without_key\./),
    expect.stringMatching(/^Warning Unlogged tables .* public\.cache/),
  ])
})

test('large objects are told, and those that may not be read fail with the statements that allow it', async () => {
  await createSourceDatabase(pair, 'photos', `select lo_from_bytea(20000 + n, 'photo') from generate_series(1, 8) as n`)
  await using migration = await createTestMigration(pair, 'photos', { key: 'photos' })
  const told = /^Warning Large objects are not in the change stream; 8 of them are compared at cutover/
  expect((await findings(migration)).messages).toEqual([expect.stringMatching(told)])
  await using admin = await pair.source.connect('photos')
  await admin.query(`do $$ begin
    for n in 20002..20007 loop execute format('alter large object %s owner to postgres', n); end loop; end $$`)
  const { proceed, messages } = await findings(migration)
  expect(proceed).toBe(false)
  expect(messages).toEqual([
    expect.stringMatching(told),
    expect.stringMatching(
      /^Failed 603110: User "migrator" may not read these large objects: 20002, 20003, 20004, 20005, 20006 and 1 more\. Run on the source: grant select on large object 20002 to "migrator";/,
    ),
  ])
  await admin.query(`grant select on large object 20002 to public`)
  expect((await findings(migration)).messages[1]).toMatch(/20003, 20004, 20005, 20006, 20007\./)
})

test('rows that the user added to tables of an extension are told', async () => {
  await createSourceDatabase(
    pair,
    'extended',
    `create table theirs (id int primary key); insert into theirs values (1), (100);
     create table as_made (id int primary key); insert into as_made values (1);
     create table closed (id int primary key)`,
  )
  await using admin = await pair.source.connect('extended')
  // As pg_extension_config_dump does in the script of an extension.
  await admin.query(`create extension citext; alter table closed owner to postgres;
    alter extension citext add table theirs; alter extension citext add table as_made;
    alter extension citext add table closed;
    update pg_extension
       set extconfig = array['theirs'::regclass, 'as_made'::regclass, 'closed'::regclass]::oid[],
           extcondition = array['where id >= 100', 'where id >= 100', '']
     where extname = 'citext'`)
  await using migration = await createTestMigration(pair, 'extended', { key: 'extended' })
  expect((await findings(migration)).messages).toEqual([
    expect.stringMatching(/^Warning Rows that were added .* copied .*: public\.closed, public\.theirs\. What cannot/),
  ])
})

test('a wrong password is told with its side, and never printed', async () => {
  await using migration = await createTestMigration(pair, 'shop')
  await migration.surroundings.secrets.set(passwordName(migration.context.key, 'target'), 'wrong-s3cr3t')
  const { proceed, messages } = await findings(migration)
  expect(proceed).toBe(false)
  expect(messages).toEqual([
    expect.stringMatching(/^Failed 603100: Authentication failed on the target server .* user "target_admin"/),
  ])
  expect(JSON.stringify(messages)).not.toContain('s3cr3t')
})

test('an unreachable server is told with its address', async () => {
  const broken = { ...pair, source: { ...pair.source, port: 1 } }
  await using unreachable = await createTestMigration(broken, 'shop', { key: 'unreachable' })
  expect((await findings(unreachable)).messages).toEqual([
    expect.stringMatching(/^Failed 603000: Connection to the source server 127\.0\.0\.1:1/),
  ])
})

test('a database that does not exist is told by name', async () => {
  await using migration = await createTestMigration(pair, 'nowhere')
  const { proceed, messages } = await findings(migration)
  expect(proceed).toBe(false)
  expect(messages).toEqual([expect.stringMatching(/^Failed 603102: Database "nowhere" does not exist on the source/)])
})

test('the same server as source and target is found out by the servers themselves', async () => {
  const { source } = pair
  await using migration = await createTestMigration(
    { ...pair, target: source, targetPassword: pair.sourcePassword },
    'shop',
    { key: 'same' },
  )
  migration.context.record.target.user = migration.context.record.source.user
  await migration.surroundings.documents.write('migrations/same/record', migration.context.record)
  expect((await findings(migration)).messages.join('\n')).toMatch(/SameServer/)
})

test('a source role that owns nothing is told which grants it lacks', async () => {
  await using admin = await pair.source.connect()
  await admin.query(`create role stranger login password 'stranger'`)
  await using migration = await createTestMigration({ ...pair, sourcePassword: 'stranger' }, 'shop', {
    key: 'stranger',
  })
  migration.context.record.source.user = 'stranger'
  await migration.surroundings.documents.write('migrations/stranger/record', migration.context.record)
  const { messages } = await findings(migration)
  const text = messages.join('\n')
  expect(text).toMatch(/603104.*alter role "stranger" with replication/)
  expect(text).toMatch(/603110.*grant create on database "shop" to "stranger"/)
  expect(text).toMatch(/603110.*public\.with_key/)
  expect(text).toMatch(/603112.*grant "app" to "stranger"/)
})

test('a target database counts as occupied when it holds an object and is not our own', async () => {
  await createTargetDatabase(pair, 'empty')
  await createTargetDatabase(pair, 'occupied')
  await createTargetDatabase(pair, 'ours')
  await createTargetDatabase(pair, 'photos')
  await using migration = await createTestMigration(pair, 'empty', {
    properties: { dbsToMigrate: ['empty', 'occupied', 'ours', 'photos', 'absent'] },
  })
  const context = await serverContext(migration.surroundings, migration.context.key)
  for (const database of ['occupied', 'ours']) {
    await using target = await context.connect('target', database, 'test')
    await target.query('create table public.t ()')
    if (database === 'ours') await createControlSchema(target, context.key)
  }
  {
    await using target = await context.connect('target', 'photos', 'test')
    await target.query('select lo_create(0)')
  }
  expect((await findOccupiedDatabases(context)).toSorted()).toEqual(['occupied', 'photos'])
})
